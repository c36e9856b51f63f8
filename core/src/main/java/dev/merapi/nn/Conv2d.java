// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Convolution of two dimensions: [N, in, H, W] → [N, out, OH, OW], as PyTorch's {@code nn.Conv2d}. */
public final class Conv2d extends ConvNd {
    /**
     * Stride 1, no padding, with a bias.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel size of the kernel in each dimension, at least 1
     */
    public Conv2d(long in, long out, long kernel) {
        this(in, out, kernel, options());
    }

    /**
     * With a bias.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel size of the kernel in both dimensions, at least 1
     * @param stride of the kernel in both dimensions, at least 1
     * @param padding zeros on each side of both dimensions, at least 0
     */
    public Conv2d(long in, long out, long kernel, long stride, long padding) {
        this(in, out, kernel, options().stride(stride).padding(padding));
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
    public Conv2d(long in, long out, long kernel, Options options) {
        this(in, out, new long[] {kernel}, options);
    }

    /**
     * With a kernel of several sizes.
     *
     * @param in channels of the input
     * @param out channels of the result
     * @param kernel its height and width, at least 1
     * @param options stride, padding and others
     * @throws dev.merapi.error.ShapeException if a number is less than it can be, or options do not go together
     */
    public Conv2d(long in, long out, long[] kernel, Options options) {
        super(false, 2, in, out, kernel, options);
    }
}
