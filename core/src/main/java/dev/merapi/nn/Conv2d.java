// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.Convolution;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;

/** Two-dimensional convolution with a square kernel and a bias: [N, in, H, W] → [N, out, OH, OW]. */
public final class Conv2d extends Layer {
    private final long stride;
    private final long padding;
    private final Parameter weight;
    private final Parameter bias;

    /**
     * Stride 1, no padding.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel height and width of the kernel
     */
    public Conv2d(long in, long out, long kernel) {
        this(in, out, kernel, 1, 0);
    }

    /**
     * Draws weight and bias from U(−1/√fanIn, 1/√fanIn) with fanIn = in · kernel², as PyTorch does.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel height and width of the kernel, at least 1
     * @param stride of the kernel in both dimensions, at least 1
     * @param padding zeros on each side of both dimensions, at least 0
     */
    public Conv2d(long in, long out, long kernel, long stride, long padding) {
        Init.atLeast(0, "Conv2d", "in", in);
        Init.atLeast(0, "Conv2d", "out", out);
        Init.atLeast(1, "Conv2d", "kernel", kernel);
        this.stride = Init.atLeast(1, "Conv2d", "stride", stride);
        this.padding = Init.atLeast(0, "Conv2d", "padding", padding);
        long fanIn = Sizes.multiply(in, Sizes.multiply(kernel, kernel));
        weight = parameter("weight", Init.kaimingUniform(fanIn, out, in, kernel, kernel));
        bias = parameter("bias", Init.kaimingUniform(fanIn, out));
    }

    @Override
    public Tensor forward(Tensor x) {
        return Convolution.conv2d(x, weight.tensor(), bias.tensor(), stride, padding, 1, 1);
    }
}
