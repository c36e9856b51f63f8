// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
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

    /** Windows: sizes of height and width, as are stride, padding and dilation. */
    public record MaxPool2d(Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation) {}

    /**
     * @param y [N, C, OH, OW]
     * @param indices int64 of the same shape: where in its H·W plane each element comes from
     */
    public record MaxPoolResult(Tensor y, Tensor indices) {}

    /**
     * @param indices as {@link #MAX_POOL2D} gives them; the gradient of one outside of its window may be left out
     * @param inputSize H and W
     */
    public record MaxPool2dBackward(
            Tensor grad,
            Tensor indices,
            long[] inputSize,
            long[] kernel,
            long[] stride,
            long[] padding,
            long[] dilation) {}

    /** Each gradient at the element that it belongs to; the sum where windows overlap. */
    public static final Op<MaxPool2dBackward, Tensor> MAX_POOL2D_BACKWARD = Op.define(
                    "merapi::max_pool2d_backward", MaxPool2dBackward.class, Tensor.class)
            .shape(a -> {
                String op = "max_pool2d_backward";
                Tensor x = images(op, a.grad(), a.inputSize());
                Shape windows = output(op, x, a.kernel(), a.stride(), a.padding(), a.dilation());
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
                Shape out = output("maxPool2d", a.x(), a.kernel(), a.stride(), a.padding(), a.dilation());
                return new MaxPoolResult(Tensor.meta(a.x(), out), Tensor.meta(out, DType.INT64, a.x().device()));
            })
            .autograd(
                    (a, out) -> new SavedMax(
                            out.indices(),
                            new long[] {a.x().size(2), a.x().size(3)},
                            a.kernel(),
                            a.stride(),
                            a.padding(),
                            a.dilation()),
                    (context, s, g) -> Grads.of(
                            "x",
                            MAX_POOL2D_BACKWARD.call(new MaxPool2dBackward(
                                    g.y(), s.indices, s.inputSize, s.kernel, s.stride, s.padding, s.dilation))))
            .register();

    /** What the gradient of {@link #MAX_POOL2D} is made of. */
    public record SavedMax(
            Tensor indices, long[] inputSize, long[] kernel, long[] stride, long[] padding, long[] dilation) {}

    /** @param countIncludePad whether the mean counts the padding, as zeros */
    public record AvgPool2d(Tensor x, long[] kernel, long[] stride, long[] padding, boolean countIncludePad) {}

    public record AvgPool2dBackward(
            Tensor grad, long[] inputSize, long[] kernel, long[] stride, long[] padding, boolean countIncludePad) {}

    /** The mean of each window. */
    public static final Op<AvgPool2d, Tensor> AVG_POOL2D = Op.define(
                    "merapi::avg_pool2d", AvgPool2d.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x(), output("avgPool2d", a.x(), a.kernel(), a.stride(), a.padding(), ONE)))
            .autograd(
                    (a, out) -> new SavedAverage(
                            new long[] {a.x().size(2), a.x().size(3)},
                            a.kernel(),
                            a.stride(),
                            a.padding(),
                            a.countIncludePad()),
                    (context, s, g) -> Grads.of("x", averageBackward(s, g)))
            .linear("x")
            .register();

    /** Each gradient spread evenly over its window. */
    public static final Op<AvgPool2dBackward, Tensor> AVG_POOL2D_BACKWARD = Op.define(
                    "merapi::avg_pool2d_backward", AvgPool2dBackward.class, Tensor.class)
            .shape(a -> {
                String op = "avg_pool2d_backward";
                Tensor x = images(op, a.grad(), a.inputSize());
                Shape windows = output(op, x, a.kernel(), a.stride(), a.padding(), ONE);
                Form.require(op, "grad", a.grad(), windows, x.dtype());
                return x;
            })
            .autograd(
                    (a, out) ->
                            new SavedAverage(a.inputSize(), a.kernel(), a.stride(), a.padding(), a.countIncludePad()),
                    (context, s, u) -> Grads.of(
                            "grad",
                            AVG_POOL2D.call(new AvgPool2d(u, s.kernel, s.stride, s.padding, s.countIncludePad))))
            .linear("grad")
            .register();

    /** What the gradient of {@link #AVG_POOL2D} is made of. */
    public record SavedAverage(
            long[] inputSize, long[] kernel, long[] stride, long[] padding, boolean countIncludePad) {}

    private static Tensor averageBackward(SavedAverage s, Tensor g) {
        return AVG_POOL2D_BACKWARD.call(
                new AvgPool2dBackward(g, s.inputSize, s.kernel, s.stride, s.padding, s.countIncludePad));
    }

    // ---------------------------------------------------------------- shapes

    /** What a gradient of windows is the gradient of: as many images, of that size. */
    private static Tensor images(String op, Tensor grad, long[] size) {
        Softmax.requireFloating(op, grad);
        Form.requireRank(op, "grad", grad, 4);
        Form.requirePairs(op, size);
        return Tensor.meta(grad, Shape.of(grad.size(0), grad.size(1), size[0], size[1]));
    }

    private static Shape output(String op, Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation) {
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
                outputSize(op, x, 0, kernel[0], stride, padding, dilation),
                outputSize(op, x, 1, kernel[1], stride, padding, dilation));
    }

    /** How many windows fit along height (0) or width (1) of images [N, C, H, W]. */
    static long outputSize(String op, Tensor x, int d, long kernel, long[] stride, long[] padding, long[] dilation) {
        if (kernel < 1 || stride[d] < 1 || padding[d] < 0 || dilation[d] < 1) {
            throw new ShapeException(
                    Message.of(op + ": kernel, stride and dilation must be at least 1, padding at least 0")
                            .fact("kernel", kernel)
                            .fact("stride", Arrays.toString(stride))
                            .fact("padding", Arrays.toString(padding))
                            .fact("dilation", Arrays.toString(dilation)));
        }
        // Exact, and so is every position within: kernels compute with what passed here.
        long padded = Sizes.add(x.size(2 + d), Sizes.multiply(2, padding[d]));
        long covered = Sizes.add(Sizes.multiply(dilation[d], kernel - 1), 1);
        long room = padded - covered;
        if (room < 0) {
            throw new ShapeException(Message.of(op + ": the kernel covers " + covered
                            + " elements, but the padded image has " + padded + " along dimension " + (2 + d))
                    .fact("x", x.describe())
                    .fix("a smaller kernel or dilation, or more padding."));
        }
        return Sizes.add(room / stride[d], 1);
    }

    // ---------------------------------------------------------------- for people

    /** The largest element of each square window of images [N, C, H, W] → [N, C, OH, OW]; no dilation. */
    public static Tensor maxPool2d(Tensor x, long kernel, long stride, long padding) {
        long[] k = {kernel, kernel};
        long[] s = {stride, stride};
        long[] p = {padding, padding};
        return MAX_POOL2D.call(new MaxPool2d(x, k, s, p, ONE)).y();
    }

    /** The mean of each square window of images [N, C, H, W] → [N, C, OH, OW]; padding counts as zeros. */
    public static Tensor avgPool2d(Tensor x, long kernel, long stride, long padding) {
        long[] k = {kernel, kernel};
        long[] s = {stride, stride};
        long[] p = {padding, padding};
        return AVG_POOL2D.call(new AvgPool2d(x, k, s, p, true));
    }

    /** The mean of each image [N, C, H, W] → [N, C, 1, 1]. */
    public static Tensor globalAvgPool2d(Tensor x) {
        Objects.requireNonNull(x, "x");
        if (x.rank() != 4) {
            throw new ShapeException("globalAvgPool2d: needs images [N, C, H, W], but this is " + x.describe());
        }
        return x.mean(new int[] {2, 3}, true);
    }
}
