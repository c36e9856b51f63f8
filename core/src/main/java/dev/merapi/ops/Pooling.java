// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;
import java.util.Arrays;
import java.util.Objects;

/** Pooling of images [N, C, H, W]. The gradients are linear, and differentiate again. */
public final class Pooling {
    private static final long[] ONE = {1, 1};

    private Pooling() {}

    /**
     * What {@link #MAX_POOL2D} takes.
     *
     * @param x [N, C, H, W], floating
     * @param kernel of height and width: the sizes of a window
     * @param stride of height and width: steps between windows
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param dilation of height and width: steps between the taps of a kernel
     * @param ceilMode whether there is a window that begins inside and ends outside
     */
    public record MaxPool2d(Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation, boolean ceilMode) {
        /**
         * Without a window that ends outside.
         *
         * @param x [N, C, H, W], floating
         * @param kernel of height and width: the sizes of a window
         * @param stride of height and width: steps between windows
         * @param padding of height and width: what is added before and after, at most half of the kernel
         * @param dilation of height and width: steps between the taps of a kernel
         */
        public MaxPool2d(Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation) {
            this(x, kernel, stride, padding, dilation, false);
        }
    }

    /**
     * What {@link #MAX_POOL2D} gives, and the pooling of lines and volumes likewise.
     *
     * @param y [N, C, OH, OW]
     * @param indices int64 of the same shape: where in its H·W plane each element comes from
     */
    public record MaxPoolResult(Tensor y, Tensor indices) {}

    /**
     * What {@link #MAX_POOL2D_BACKWARD} takes.
     *
     * @param grad [N, C, OH, OW], of the largest elements
     * @param indices as {@link #MAX_POOL2D} gives them; the gradient of one outside of its window may be left out
     * @param inputSize H and W
     * @param kernel as in {@link MaxPool2d}
     * @param stride as in {@link MaxPool2d}
     * @param padding as in {@link MaxPool2d}
     * @param dilation as in {@link MaxPool2d}
     * @param ceilMode as in {@link MaxPool2d}
     */
    public record MaxPool2dBackward(
            Tensor grad,
            Tensor indices,
            long[] inputSize,
            long[] kernel,
            long[] stride,
            long[] padding,
            long[] dilation,
            boolean ceilMode) {
        /**
         * Without a window that ends outside.
         *
         * @param grad [N, C, OH, OW], of the largest elements
         * @param indices as {@link #MAX_POOL2D} gives them
         * @param inputSize H and W
         * @param kernel as in {@link MaxPool2d}
         * @param stride as in {@link MaxPool2d}
         * @param padding as in {@link MaxPool2d}
         * @param dilation as in {@link MaxPool2d}
         */
        public MaxPool2dBackward(
                Tensor grad,
                Tensor indices,
                long[] inputSize,
                long[] kernel,
                long[] stride,
                long[] padding,
                long[] dilation) {
            this(grad, indices, inputSize, kernel, stride, padding, dilation, false);
        }
    }

    /** Each gradient at the element that it belongs to; the sum where windows overlap. */
    public static final Op<MaxPool2dBackward, Tensor> MAX_POOL2D_BACKWARD = Op.define(
                    "merapi::max_pool2d_backward", MaxPool2dBackward.class, Tensor.class)
            .shape(a -> {
                String op = "max_pool2d_backward";
                Tensor x = images(op, a.grad(), a.inputSize());
                Shape windows = output(op, x, a.kernel(), a.stride(), a.padding(), a.dilation(), a.ceilMode());
                Form.require(op, "grad", a.grad(), windows, x.dtype());
                Form.require(op, "indices", a.indices(), windows, DType.INT64);
                return x;
            })
            .autograd((a, out) -> a.indices(), (context, indices, u) -> {
                long planes = u.size(0) * u.size(1);
                Tensor flat = u.reshape(planes, u.size(2) * u.size(3));
                Tensor picked = flat.gather(1, indices.reshape(planes, indices.size(2) * indices.size(3)));
                return Grads.of("grad", picked.reshape(indices.shape().toArray()))
                        .and("indices", (Tensor) null);
            })
            .linear("grad")
            .register();

    /** The largest element of each window; of equals the first, and NaN wins. Padding never does. */
    public static final Op<MaxPool2d, MaxPoolResult> MAX_POOL2D = Op.define(
                    "merapi::max_pool2d", MaxPool2d.class, MaxPoolResult.class)
            .shape(a -> {
                Shape out = output("maxPool2d", a.x(), a.kernel(), a.stride(), a.padding(), a.dilation(), a.ceilMode());
                return new MaxPoolResult(Tensor.meta(a.x(), out), Tensor.meta(out, DType.INT64, a.x().device()));
            })
            .autograd(
                    (a, out) -> new SavedMax(
                            out.indices(),
                            new long[] {a.x().size(2), a.x().size(3)},
                            a.kernel(),
                            a.stride(),
                            a.padding(),
                            a.dilation(),
                            a.ceilMode()),
                    (context, s, g) -> Grads.of(
                            "x",
                            MAX_POOL2D_BACKWARD.call(new MaxPool2dBackward(
                                    g.y(),
                                    s.indices,
                                    s.inputSize,
                                    s.kernel,
                                    s.stride,
                                    s.padding,
                                    s.dilation,
                                    s.ceilMode))))
            .register();

    /** What the gradient of {@link #MAX_POOL2D} is made of. */
    record SavedMax(
            Tensor indices,
            long[] inputSize,
            long[] kernel,
            long[] stride,
            long[] padding,
            long[] dilation,
            boolean ceilMode) {}

    /**
     * What {@link #AVG_POOL2D} takes.
     *
     * @param x [N, C, H, W], floating
     * @param kernel of height and width: the sizes of a window
     * @param stride of height and width: steps between windows
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param countIncludePad whether the mean counts the padding, as zeros
     * @param ceilMode whether there is a window that begins inside and ends outside
     */
    public record AvgPool2d(
            Tensor x, long[] kernel, long[] stride, long[] padding, boolean countIncludePad, boolean ceilMode) {
        /**
         * Without a window that ends outside.
         *
         * @param x [N, C, H, W], floating
         * @param kernel of height and width: the sizes of a window
         * @param stride of height and width: steps between windows
         * @param padding of height and width: what is added before and after, at most half of the kernel
         * @param countIncludePad whether the mean counts the padding, as zeros
         */
        public AvgPool2d(Tensor x, long[] kernel, long[] stride, long[] padding, boolean countIncludePad) {
            this(x, kernel, stride, padding, countIncludePad, false);
        }
    }

    /**
     * What {@link #AVG_POOL2D_BACKWARD} takes.
     *
     * @param grad [N, C, OH, OW], of the means
     * @param inputSize H and W
     * @param kernel as in {@link AvgPool2d}
     * @param stride as in {@link AvgPool2d}
     * @param padding as in {@link AvgPool2d}
     * @param countIncludePad as in {@link AvgPool2d}
     * @param ceilMode as in {@link AvgPool2d}
     */
    public record AvgPool2dBackward(
            Tensor grad,
            long[] inputSize,
            long[] kernel,
            long[] stride,
            long[] padding,
            boolean countIncludePad,
            boolean ceilMode) {
        /**
         * Without a window that ends outside.
         *
         * @param grad [N, C, OH, OW], of the means
         * @param inputSize H and W
         * @param kernel as in {@link AvgPool2d}
         * @param stride as in {@link AvgPool2d}
         * @param padding as in {@link AvgPool2d}
         * @param countIncludePad as in {@link AvgPool2d}
         */
        public AvgPool2dBackward(
                Tensor grad, long[] inputSize, long[] kernel, long[] stride, long[] padding, boolean countIncludePad) {
            this(grad, inputSize, kernel, stride, padding, countIncludePad, false);
        }
    }

    /** The mean of each window. */
    public static final Op<AvgPool2d, Tensor> AVG_POOL2D = Op.define(
                    "merapi::avg_pool2d", AvgPool2d.class, Tensor.class)
            .shape(a -> Tensor.meta(
                    a.x(), output("avgPool2d", a.x(), a.kernel(), a.stride(), a.padding(), ONE, a.ceilMode())))
            .autograd(
                    (a, out) -> new SavedAverage(
                            new long[] {a.x().size(2), a.x().size(3)},
                            a.kernel(),
                            a.stride(),
                            a.padding(),
                            a.countIncludePad(),
                            a.ceilMode()),
                    (context, s, g) -> Grads.of("x", averageBackward(s, g)))
            .linear("x")
            .register();

    /** Each gradient spread evenly over its window. */
    public static final Op<AvgPool2dBackward, Tensor> AVG_POOL2D_BACKWARD = Op.define(
                    "merapi::avg_pool2d_backward", AvgPool2dBackward.class, Tensor.class)
            .shape(a -> {
                String op = "avg_pool2d_backward";
                Tensor x = images(op, a.grad(), a.inputSize());
                Shape windows = output(op, x, a.kernel(), a.stride(), a.padding(), ONE, a.ceilMode());
                Form.require(op, "grad", a.grad(), windows, x.dtype());
                return x;
            })
            .autograd(
                    (a, out) -> new SavedAverage(
                            a.inputSize(), a.kernel(), a.stride(), a.padding(), a.countIncludePad(), a.ceilMode()),
                    (context, s, u) -> Grads.of(
                            "grad",
                            AVG_POOL2D.call(
                                    new AvgPool2d(u, s.kernel, s.stride, s.padding, s.countIncludePad, s.ceilMode))))
            .linear("grad")
            .register();

    /** What the gradient of {@link #AVG_POOL2D} is made of. */
    record SavedAverage(
            long[] inputSize,
            long[] kernel,
            long[] stride,
            long[] padding,
            boolean countIncludePad,
            boolean ceilMode) {}

    private static Tensor averageBackward(SavedAverage s, Tensor g) {
        return AVG_POOL2D_BACKWARD.call(
                new AvgPool2dBackward(g, s.inputSize, s.kernel, s.stride, s.padding, s.countIncludePad, s.ceilMode));
    }

    // ---------------------------------------------------------------- shapes

    /** What a gradient of windows is the gradient of: as many images, of that size. */
    private static Tensor images(String op, Tensor grad, long[] size) {
        Softmax.requireFloating(op, grad);
        Form.requireRank(op, "grad", grad, 4);
        Form.requirePairs(op, size);
        return Tensor.meta(grad, Shape.of(grad.size(0), grad.size(1), size[0], size[1]));
    }

    private static Shape output(
            String op, Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation, boolean ceilMode) {
        Softmax.requireFloating(op, x);
        for (long[] pair : new long[][] {kernel, stride, padding, dilation}) {
            if (pair.length != 2) {
                throw new ShapeException(op + ": kernel, stride, padding and dilation take two numbers, but one has "
                        + Arrays.toString(pair));
            }
        }
        if (x.rank() != 4) {
            throw new ShapeException(op + ": needs images [N, C, H, W], but this is " + x.describe()
                    + (x.rank() == 3 ? "\n  fix: x.unsqueeze(0) makes a batch of one image." : ""));
        }
        for (int d = 0; d < 2; d++) {
            if (padding[d] > kernel[d] / 2) {
                throw new ShapeException(
                        op + ": padding " + Arrays.toString(padding) + " is more than half of the kernel "
                                + Arrays.toString(kernel) + ", so that windows would hold nothing else");
            }
        }
        return Shape.of(
                x.size(0),
                x.size(1),
                Windows.count(op, x, 2, kernel[0], stride[0], padding[0], dilation[0], ceilMode),
                Windows.count(op, x, 3, kernel[1], stride[1], padding[1], dilation[1], ceilMode));
    }

    /** How many windows fit along height (0) or width (1) of images [N, C, H, W]. */
    static long outputSize(String op, Tensor x, int d, long kernel, long[] stride, long[] padding, long[] dilation) {
        return Windows.count(op, x, 2 + d, kernel, stride[d], padding[d], dilation[d], false);
    }

    // ---------------------------------------------------------------- for people

    /**
     * The largest element of each square window of images [N, C, H, W] → [N, C, OH, OW]; no dilation.
     *
     * @param x [N, C, H, W], floating
     * @param kernel height and width of a window
     * @param stride steps between windows, at least 1
     * @param padding on all four sides, at most half of the kernel; no padding is ever the largest
     * @return [N, C, OH, OW] with OH = ⌊(H + 2·padding − kernel)/stride⌋ + 1
     * @throws ShapeException if the sizes do not fit
     */
    public static Tensor maxPool2d(Tensor x, long kernel, long stride, long padding) {
        long[] k = {kernel, kernel};
        long[] s = {stride, stride};
        long[] p = {padding, padding};
        return MAX_POOL2D.call(new MaxPool2d(x, k, s, p, ONE)).y();
    }

    /**
     * The mean of each square window of images [N, C, H, W] → [N, C, OH, OW]; padding counts as zeros.
     *
     * @param x [N, C, H, W], floating
     * @param kernel height and width of a window
     * @param stride steps between windows, at least 1
     * @param padding zeros on all four sides, at most half of the kernel
     * @return [N, C, OH, OW] with OH = ⌊(H + 2·padding − kernel)/stride⌋ + 1
     * @throws ShapeException if the sizes do not fit
     */
    public static Tensor avgPool2d(Tensor x, long kernel, long stride, long padding) {
        long[] k = {kernel, kernel};
        long[] s = {stride, stride};
        long[] p = {padding, padding};
        return AVG_POOL2D.call(new AvgPool2d(x, k, s, p, true));
    }

    /**
     * The mean of each image [N, C, H, W] → [N, C, 1, 1].
     *
     * @param x [N, C, H, W], floating
     * @return [N, C, 1, 1]
     * @throws ShapeException if x has not four dimensions
     */
    public static Tensor globalAvgPool2d(Tensor x) {
        Objects.requireNonNull(x, "x");
        if (x.rank() != 4) {
            throw new ShapeException("globalAvgPool2d: needs images [N, C, H, W], but this is " + x.describe());
        }
        return x.mean(new int[] {2, 3}, true);
    }

    /**
     * The largest element of each window of x [N, C, L], [N, C, H, W] or [N, C, D, H, W], and where in its plane, row-major, it
     * comes from: of equals the first, and NaN wins. Gradient: x, to any order.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param kernel as many sizes as x has dimensions after the channels, as are stride, padding and dilation
     * @param stride steps between windows
     * @param padding before and after, at most half of the kernel; it is never the largest
     * @param dilation steps between the taps of a window
     * @param ceilMode whether there is a window that begins inside and ends outside
     * @return values [N, C, ..], and int64 indices of the same shape
     * @throws ShapeException if sizes do not fit, or the padding is more than half of the kernel
     */
    public static MaxPoolResult maxPool(
            Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation, boolean ceilMode) {
        return PoolingForms.max(x, kernel, stride, padding, dilation, ceilMode);
    }

    /**
     * The mean of each window of x [N, C, L], [N, C, H, W] or [N, C, D, H, W]. Gradient: x, to any order.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param kernel as many sizes as x has dimensions after the channels, as are stride and padding
     * @param stride steps between windows
     * @param padding zeros before and after, at most half of the kernel
     * @param ceilMode whether there is a window that begins inside and ends outside
     * @param countIncludePad whether the mean counts the padding, as zeros
     * @return [N, C, ..]
     * @throws ShapeException if sizes do not fit, or the padding is more than half of the kernel
     */
    public static Tensor avgPool(
            Tensor x, long[] kernel, long[] stride, long[] padding, boolean ceilMode, boolean countIncludePad) {
        return PoolingForms.average(x, kernel, stride, padding, ceilMode, countIncludePad);
    }

    /**
     * (Σ xᵖ)^(1/p) of each window of x [N, C, L], [N, C, H, W] or [N, C, D, H, W]; no padding.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param p the exponent, finite and not 0
     * @param kernel as many sizes as x has dimensions after the channels, as are the strides
     * @param stride steps between windows
     * @param ceilMode whether there is a window that begins inside and ends outside
     * @return [N, C, ..]; NaN where a sum is negative and 1/p is no whole number
     * @throws ShapeException if sizes do not fit
     */
    public static Tensor lpPool(Tensor x, double p, long[] kernel, long[] stride, boolean ceilMode) {
        Form.requireFinite("lpPool", "p", p);
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(kernel, "kernel");
        double product = 1;
        for (long k : kernel) {
            product *= k;
        }
        long[] none = new long[kernel.length];
        double elements = product;
        return Composition.of("lpPool", () -> {
            Tensor sums = avgPool(x.pow(p), kernel, stride, none, ceilMode, true);
            return sums.sign().mul(sums.abs().relu()).mul(elements).pow(1 / p);
        });
    }

    /**
     * The mean of each of so many windows, of sizes as even as can be. Gradient: x, to any order.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W]
     * @param size how many windows along each dimension after the channels
     * @return [N, C, size]
     * @throws ShapeException if sizes do not fit, or a dimension has no elements
     */
    public static Tensor adaptiveAvgPool(Tensor x, long... size) {
        return AdaptivePooling.average(x, size);
    }

    /**
     * The largest element of each of so many windows, and where in its plane it comes from; otherwise as
     * {@link #adaptiveAvgPool}.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param size how many windows along each dimension after the channels
     * @return values [N, C, size], and int64 indices of the same shape, row-major in their plane
     * @throws ShapeException if sizes do not fit, or a dimension has no elements
     */
    public static MaxPoolResult adaptiveMaxPool(Tensor x, long... size) {
        return AdaptivePooling.max(x, size);
    }

    /**
     * Elements at the places in their planes that {@link #maxPool} gave, with zeros between: [N, C, ..] → [N, C, size]. Of two at
     * one place one counts. Gradient: y.
     *
     * @param y [N, C, ..], as {@link #maxPool} gives values
     * @param indices int64, of the same shape
     * @param size of the dimensions after the channels
     * @return [N, C, size]
     * @throws ShapeException if an index lies outside of a plane of that size
     */
    public static Tensor maxUnpool(Tensor y, Tensor indices, long... size) {
        Objects.requireNonNull(y, "y");
        Objects.requireNonNull(indices, "indices");
        Objects.requireNonNull(size, "size");
        return Composition.of("maxUnpool", () -> unpooled(y, indices, size));
    }

    private static Tensor unpooled(Tensor y, Tensor indices, long... size) {
        long[] shape = PoolingForms.with(y, size);
        Tensor flat = y.reshape(y.size(0), y.size(1), -1);
        Tensor places = indices.reshape(y.size(0), y.size(1), -1);
        long plane = java.util.Arrays.stream(size).reduce(1, Sizes::multiply);
        Tensor zeros = flat.isMeta()
                ? Tensor.meta(Shape.of(y.size(0), y.size(1), plane), y.dtype(), y.device())
                : Tensor.zeros(Shape.of(y.size(0), y.size(1), plane), y.dtype(), y.device());
        return zeros.scatter(2, places, flat).reshape(shape);
    }
}
