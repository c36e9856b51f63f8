// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Normalises the last dimensions to mean 0 and variance 1, then scales and shifts: [*, shape] → the same. */
public final class LayerNorm extends Layer {
    private final long[] shape;
    private final double eps;
    private final @Nullable Parameter weight;
    private final @Nullable Parameter bias;

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
        this(new long[] {Init.atLeast(0, "LayerNorm", "width", width)}, eps, true, true);
    }

    /**
     * Begins with weight 1 and bias 0, if it has them.
     *
     * @param shape sizes of the last dimensions, over which mean and variance are taken
     * @param eps added to the variance before the root, greater than 0
     * @param scales whether there is a weight
     * @param shifts whether there is a bias
     */
    public LayerNorm(long[] shape, double eps, boolean scales, boolean shifts) {
        this.shape = Objects.requireNonNull(shape, "shape").clone();
        this.eps = Init.notNegative("LayerNorm", "eps", eps);
        for (long size : shape) {
            Init.atLeast(0, "LayerNorm", "shape", size);
        }
        weight = scales ? parameter("weight", Tensor.ones(shape)) : null;
        bias = shifts ? parameter("bias", Tensor.zeros(shape)) : null;
    }

    @Override
    protected Tensor compute(Tensor x) {
        return Normalization.layerNorm(x, shape, Parameter.of(weight), Parameter.of(bias), eps);
    }
}
