// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;

/** A module that makes one tensor of one tensor, so that {@link Sequential} can chain it. */
public abstract class Layer extends Module {
    public abstract Tensor forward(Tensor x);
}
