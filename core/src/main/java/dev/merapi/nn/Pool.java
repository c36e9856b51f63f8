// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Tensor;
import java.util.Objects;

/**
 * Pools as layers: of x [N, C, L], [N, C, H, W] or [N, C, D, H, W], so that each is PyTorch's of one, two and three dimensions.
 *
 * <pre>{@code Pool.max(2); Pool.max(Pool.window(3).stride(2).padding(1)); Pool.adaptiveAvg(1)}</pre>
 */
public final class Pool {
    private Pool() {}

    /** How windows lie. Immutable: each method gives another one. Numbers are one for all dimensions, or one for each. */
    public static final class Window {
        private final long[] kernel;
        private final long[] stride;
        private final long[] padding;
        private final long[] dilation;
        private final boolean ceil;
        private final boolean counts;

        private Window(long[] kernel, long[] stride, long[] padding, long[] dilation, boolean ceil, boolean counts) {
            this.kernel = kernel;
            this.stride = stride;
            this.padding = padding;
            this.dilation = dilation;
            this.ceil = ceil;
            this.counts = counts;
        }

        /**
         * How far the window moves each time, instead of its own size.
         *
         * @param each at least 1
         * @return the same window but for that
         */
        public Window stride(long... each) {
            return new Window(kernel, numbers("stride", 1, each), padding, dilation, ceil, counts);
        }

        /**
         * What is added on both sides.
         *
         * @param each from 0 to half of the kernel
         * @return the same window but for that
         */
        public Window padding(long... each) {
            return new Window(kernel, stride, numbers("padding", 0, each), dilation, ceil, counts);
        }

        /**
         * How far apart the elements of a window are; for the largest only.
         *
         * @param each at least 1
         * @return the same window but for that
         */
        public Window dilation(long... each) {
            return new Window(kernel, stride, padding, numbers("dilation", 1, each), ceil, counts);
        }

        /**
         * With a window that begins inside and ends outside.
         *
         * @return the same window but for that
         */
        public Window ceilMode() {
            return new Window(kernel, stride, padding, dilation, true, counts);
        }

        /**
         * Means do not count the padding.
         *
         * @return the same window but for that
         */
        public Window excludePadding() {
            return new Window(kernel, stride, padding, dilation, ceil, false);
        }

        private long[] kernel(String layer, Tensor x) {
            return Dims.each(layer, "kernel", dims(layer, x), 1, kernel);
        }

        private long[] stride(String layer, Tensor x) {
            return Dims.each(layer, "stride", dims(layer, x), 1, stride);
        }

        private long[] padding(String layer, Tensor x) {
            return Dims.each(layer, "padding", dims(layer, x), 0, padding);
        }

        private long[] dilation(String layer, Tensor x) {
            return Dims.each(layer, "dilation", dims(layer, x), 1, dilation);
        }
    }

    private static long[] numbers(String name, long least, long[] each) {
        for (long n : Objects.requireNonNull(each, "each")) {
            Init.atLeast(least, "Pool", name, n);
        }
        if (each.length < 1 || each.length > 3) {
            throw new ShapeException(Message.of("Pool", name + " takes one to three numbers, not " + each.length)
                    .argument(name));
        }
        return each.clone();
    }

    private static int dims(String layer, Tensor x) {
        if (x.rank() < 3 || x.rank() > 5) {
            throw new ShapeException(
                    Message.of(layer, "x must be [N, C, L], [N, C, H, W] or [N, C, D, H, W], but is " + x.describe())
                            .argument("x")
                            .fix("x.unsqueeze(0) makes a batch of one."));
        }
        return x.rank() - 2;
    }

    /**
     * A window that moves by its own size, without padding.
     *
     * @param kernel its size
     * @return a window, to be given to a pool
     */
    public static Window window(long... kernel) {
        long[] size = numbers("kernel", 1, kernel);
        return new Window(size, size, new long[] {0}, new long[] {1}, false, true);
    }

    /**
     * The largest element of each window: {@code nn.MaxPool2d(kernel)}.
     *
     * @param kernel size of the window, by which it moves
     * @return a layer without parameters
     */
    public static Layer max(long... kernel) {
        return max(window(kernel));
    }

    /**
     * The largest element of each window: {@code nn.MaxPool2d}.
     *
     * @param window how windows lie
     * @return a layer without parameters
     */
    public static Layer max(Window window) {
        Window w = Objects.requireNonNull(window, "window");
        return Layer.of(
                "MaxPool",
                x -> Pooling.maxPool(
                                x,
                                w.kernel("MaxPool", x),
                                w.stride("MaxPool", x),
                                w.padding("MaxPool", x),
                                w.dilation("MaxPool", x),
                                w.ceil)
                        .y());
    }

    /**
     * The mean of each window: {@code nn.AvgPool2d(kernel)}.
     *
     * @param kernel size of the window, by which it moves
     * @return a layer without parameters
     */
    public static Layer avg(long... kernel) {
        return avg(window(kernel));
    }

    /**
     * The mean of each window: {@code nn.AvgPool2d}.
     *
     * @param window how windows lie, without dilation
     * @return a layer without parameters
     */
    public static Layer avg(Window window) {
        Window w = undilated("AvgPool", window);
        return Layer.of(
                "AvgPool",
                x -> Pooling.avgPool(
                        x, w.kernel("AvgPool", x), w.stride("AvgPool", x), w.padding("AvgPool", x), w.ceil, w.counts));
    }

    /**
     * (Σ xᵖ)^(1/p) of each window: {@code nn.LPPool2d}.
     *
     * @param p the norm, greater than 0
     * @param window how windows lie, without dilation and padding
     * @return a layer without parameters
     */
    public static Layer lp(double p, Window window) {
        Window w = undilated("LPPool", window);
        for (long padding : w.padding) {
            require("LPPool", "padding", padding == 0);
        }
        if (!(p > 0 && p < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("LPPool: p is " + p + ", but must be greater than 0, and finite");
        }
        return Layer.of("LPPool", x -> Pooling.lpPool(x, p, w.kernel("LPPool", x), w.stride("LPPool", x), w.ceil));
    }

    private static Window undilated(String layer, Window window) {
        for (long dilation : Objects.requireNonNull(window, "window").dilation) {
            require(layer, "dilation", dilation == 1);
        }
        return window;
    }

    private static void require(String layer, String what, boolean absent) {
        if (!absent) {
            throw new ShapeException(
                    Message.of(layer, "takes a window without " + what).argument("window"));
        }
    }

    /**
     * Means of so many windows, of sizes as even as can be: {@code nn.AdaptiveAvgPool2d}.
     *
     * @param size how many windows along each dimension
     * @return a layer without parameters
     */
    public static Layer adaptiveAvg(long... size) {
        long[] windows = numbers("size", 1, size);
        return Layer.of(
                "AdaptiveAvgPool",
                x -> Pooling.adaptiveAvgPool(
                        x, Dims.each("AdaptiveAvgPool", "size", dims("AdaptiveAvgPool", x), 1, windows)));
    }

    /**
     * Largest elements of so many windows: {@code nn.AdaptiveMaxPool2d}.
     *
     * @param size how many windows along each dimension
     * @return a layer without parameters
     */
    public static Layer adaptiveMax(long... size) {
        long[] windows = numbers("size", 1, size);
        return Layer.of(
                "AdaptiveMaxPool",
                x -> Pooling.adaptiveMaxPool(
                                x, Dims.each("AdaptiveMaxPool", "size", dims("AdaptiveMaxPool", x), 1, windows))
                        .y());
    }
}
