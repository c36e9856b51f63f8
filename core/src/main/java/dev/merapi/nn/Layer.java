// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;

/** A block that makes one tensor of one tensor, so that {@link Sequential} can chain it. */
public abstract class Layer extends Block {
    /**
     * What the layer computes.
     *
     * @param x a tensor in the form that the layer says
     * @return a new tensor, part of the graph of {@code x} and the layer's parameters
     */
    public abstract Tensor forward(Tensor x);
}
