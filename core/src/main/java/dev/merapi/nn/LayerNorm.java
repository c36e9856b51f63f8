// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Tensor;

/** Normalises the last dimension to mean 0 and variance 1, then scales and shifts: [*, width] → the same. */
public final class LayerNorm extends Layer {
    private final long width;
    private final double eps;
    private final Parameter weight;
    private final Parameter bias;

    /**
     * With eps 1e-5.
     *
     * @param width size of the last dimension, over which mean and variance are taken
     */
    public LayerNorm(long width) {
        this(width, 1e-5);
    }

    /**
     * Begins with weight 1 and bias 0.
     *
     * @param width size of the last dimension, over which mean and variance are taken
     * @param eps added to the variance before the root, greater than 0
     */
    public LayerNorm(long width, double eps) {
        this.width = Init.atLeast(0, "LayerNorm", "width", width);
        this.eps = eps;
        weight = parameter("weight", Tensor.ones(width));
        bias = parameter("bias", Tensor.zeros(width));
    }

    @Override
    public Tensor forward(Tensor x) {
        return Normalization.layerNorm(x, new long[] {width}, weight.tensor(), bias.tensor(), eps);
    }
}
