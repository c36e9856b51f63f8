// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;

/** In training, sets each element to 0 at probability p and scales the rest by 1/(1 − p); else changes nothing. */
public final class Dropout extends Layer {
    private final double p;

    /**
     * @param p the probability with which an element becomes 0 in training; the others are divided by 1 − p
     * @throws IllegalArgumentException if p does not lie in [0, 1]
     */
    public Dropout(double p) {
        if (!(p >= 0 && p <= 1)) {
            throw new IllegalArgumentException("dropout: probability " + p + " does not lie in [0, 1]");
        }
        this.p = p;
    }

    @Override
    public Tensor forward(Tensor x) {
        Objects.requireNonNull(x, "x");
        return x.dropout(p, isTraining());
    }
}
