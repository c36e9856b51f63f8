// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Divides by the root of the mean square over the last dimensions, then scales: [*, shape] → the same. */
public final class RmsNorm extends Layer {
    private final long[] shape;
    private final @Nullable Double eps;
    private final @Nullable Parameter weight;

    /**
     * With the least eps that the dtype of the input shows, as in PyTorch, and a weight.
     *
     * @param width size of the last dimension
     */
    public RmsNorm(long width) {
        this(new long[] {Init.atLeast(0, "RmsNorm", "width", width)}, null, true);
    }

    /**
     * With a weight.
     *
     * @param width size of the last dimension
     * @param eps added to the mean square, not negative
     */
    public RmsNorm(long width, double eps) {
        this(new long[] {Init.atLeast(0, "RmsNorm", "width", width)}, eps, true);
    }

    /**
     * Begins with weight 1, if it has one.
     *
     * @param shape sizes of the last dimensions, over which the mean is taken
     * @param eps added to the mean square, not negative; null for the distance of 1 to the next number of the input's dtype
     * @param scales whether there is a weight
     */
    public RmsNorm(long[] shape, @Nullable Double eps, boolean scales) {
        this.shape = Objects.requireNonNull(shape, "shape").clone();
        this.eps = eps == null ? null : Init.notNegative("RmsNorm", "eps", eps);
        for (long size : shape) {
            Init.atLeast(0, "RmsNorm", "shape", size);
        }
        weight = scales ? parameter("weight", Tensor.ones(shape)) : null;
    }

    @Override
    protected Tensor compute(Tensor x) {
        double added = eps == null ? Objects.requireNonNull(x, "x").dtype().epsilon() : eps;
        return Normalization.rmsNorm(x, shape, Parameter.of(weight), added);
    }
}
