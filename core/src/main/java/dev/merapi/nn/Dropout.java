// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;

/** In training, sets each element to 0 at probability p and scales the rest by 1/(1 − p); else changes nothing. */
public final class Dropout extends Module {
    private final double p;

    public Dropout(double p) {
        this.p = p;
    }

    public Tensor forward(Tensor x) {
        return x.dropout(p, isTraining());
    }
}
