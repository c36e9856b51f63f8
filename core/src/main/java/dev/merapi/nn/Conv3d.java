// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Convolution of three dimensions: [N, in, D, H, W] → [N, out, OD, OH, OW], as PyTorch's {@code nn.Conv3d}. */
public final class Conv3d extends ConvNd {
    /**
     * Stride 1, no padding, with a bias.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel size of the kernel in each dimension, at least 1
     */
    public Conv3d(long in, long out, long kernel) {
        this(in, out, kernel, options());
    }

    /**
     * With options.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel size of the kernel in each dimension, at least 1
     * @param options stride, padding and others
     * @throws dev.merapi.error.ShapeException if a number is less than it can be, or options do not go together
     */
    public Conv3d(long in, long out, long kernel, Options options) {
        this(in, out, new long[] {kernel}, options);
    }

    /**
     * With a kernel of several sizes.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel its depth, height and width, at least 1
     * @param options stride, padding and others
     * @throws dev.merapi.error.ShapeException if a number is less than it can be, or options do not go together
     */
    public Conv3d(long in, long out, long[] kernel, Options options) {
        super(false, 3, in, out, kernel, options);
    }
}
