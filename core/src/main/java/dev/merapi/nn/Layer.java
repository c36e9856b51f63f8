// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;

/** A block that makes one tensor of one tensor, so that {@link Sequential} can chain it. */
public abstract class Layer extends Block {
    public abstract Tensor forward(Tensor x);
}
