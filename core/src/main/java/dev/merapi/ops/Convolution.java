// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Two-dimensional convolution. It and its two gradients are linear in each operand, and the gradients of all three are
 * among them again: so every order of derivative is exact.
 */
public final class Convolution {
    private Convolution() {}

    /**
     * What {@link #CONV2D} takes.
     *
     * @param x [N, C, H, W]
     * @param weight [O, C/groups, kh, kw]
     * @param bias [O], or absent
     * @param stride of height and width, as are padding and dilation
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param dilation of height and width: steps between the taps of a kernel
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     */
    public record Conv2d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups) {}

    /**
     * What {@link #CONV2D_INPUT_GRADIENT} takes.
     *
     * @param grad [N, O, OH, OW], the gradient of the result
     * @param weight [O, C/groups, kh, kw]
     * @param inputSize H and W
     * @param stride of height and width: steps between windows
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param dilation of height and width: steps between the taps of a kernel
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     */
    public record InputGradient(
            Tensor grad,
            Tensor weight,
            long[] inputSize,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups) {}

    /**
     * What {@link #CONV2D_WEIGHT_GRADIENT} takes.
     *
     * @param grad [N, O, OH, OW], the gradient of the result
     * @param x [N, C, H, W]
     * @param kernelSize kh and kw
     * @param stride of height and width: steps between windows
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param dilation of height and width: steps between the taps of a kernel
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     */
    public record WeightGradient(
            Tensor grad, Tensor x, long[] kernelSize, long[] stride, long[] padding, long[] dilation, long groups) {}

    /** y[n, o, i, j] = Σ x[n, c, i·stride + p·dilation − padding, …]·weight[o, c, p, q] + bias[o]. */
    public static final Op<Conv2d, Tensor> CONV2D = Op.define("merapi::conv2d", Conv2d.class, Tensor.class)
            .shape(a -> {
                return Tensor.meta(a.x(), check("conv2d", a));
            })
            .autograd(
                    (a, out) -> new Saved(
                            a.x(), a.weight(), a.bias() != null, a.stride(), a.padding(), a.dilation(), a.groups()),
                    (context, s, g) -> Grads.of("x", context.needs("x") ? s.inputGradient(g, s.weight) : null)
                            .and("weight", context.needs("weight") ? s.weightGradient(g, s.x) : null)
                            .and("bias", s.hasBias && context.needs("bias") ? g.sum(0, 2, 3) : null))
            .linear("x, bias", "weight, bias")
            .autocast(CastPolicy.LOWER)
            .register();

    /** The gradient of x: a transposed convolution of {@code grad}. */
    public static final Op<InputGradient, Tensor> CONV2D_INPUT_GRADIENT = Op.define(
                    "merapi::conv2d_input_gradient", InputGradient.class, Tensor.class)
            .shape(a -> {
                String op = "conv2d_input_gradient";
                Form.requireRank(op, "grad", a.grad(), 4);
                Form.requireRank(op, "weight", a.weight(), 4);
                Form.requirePairs(op, a.inputSize());
                Tensor w = a.weight();
                long channels = Sizes.multiply(w.size(1), Math.max(1, a.groups()));
                Tensor x =
                        Tensor.meta(a.grad(), Shape.of(a.grad().size(0), channels, a.inputSize()[0], a.inputSize()[1]));
                Form.require(
                        op,
                        "grad",
                        a.grad(),
                        check(op, new Conv2d(x, w, null, a.stride(), a.padding(), a.dilation(), a.groups())),
                        w.dtype());
                return x;
            })
            .autograd((a, out) -> a, (context, a, u) -> {
                Saved s = new Saved(u, a.weight(), false, a.stride(), a.padding(), a.dilation(), a.groups());
                return Grads.of("grad", context.needs("grad") ? s.convolve(u, a.weight()) : null)
                        .and("weight", context.needs("weight") ? s.weightGradient(a.grad(), u) : null);
            })
            .linear("grad", "weight")
            .register();

    /** The gradient of the weight: x correlated with {@code grad}. */
    public static final Op<WeightGradient, Tensor> CONV2D_WEIGHT_GRADIENT = Op.define(
                    "merapi::conv2d_weight_gradient", WeightGradient.class, Tensor.class)
            .shape(a -> {
                String op = "conv2d_weight_gradient";
                Form.requireRank(op, "grad", a.grad(), 4);
                Form.requireRank(op, "x", a.x(), 4);
                Form.requirePairs(op, a.kernelSize());
                Tensor x = a.x();
                long channels = x.size(1) / Math.max(1, a.groups());
                Tensor w = Tensor.meta(
                        a.grad(), Shape.of(a.grad().size(1), channels, a.kernelSize()[0], a.kernelSize()[1]));
                Form.require(
                        op,
                        "grad",
                        a.grad(),
                        check(op, new Conv2d(x, w, null, a.stride(), a.padding(), a.dilation(), a.groups())),
                        x.dtype());
                return w;
            })
            .autograd((a, out) -> a, (context, a, u) -> {
                Saved s = new Saved(a.x(), u, false, a.stride(), a.padding(), a.dilation(), a.groups());
                return Grads.of("grad", context.needs("grad") ? s.convolve(a.x(), u) : null)
                        .and("x", context.needs("x") ? s.inputGradient(a.grad(), u) : null);
            })
            .linear("grad", "x")
            .register();

    /** What the gradients are made of. */
    record Saved(
            Tensor x, Tensor weight, boolean hasBias, long[] stride, long[] padding, long[] dilation, long groups) {
        Tensor convolve(Tensor input, Tensor kernel) {
            return CONV2D.call(new Conv2d(input, kernel, null, stride, padding, dilation, groups));
        }

        Tensor inputGradient(Tensor grad, Tensor kernel) {
            long[] size = {x.size(2), x.size(3)};
            return CONV2D_INPUT_GRADIENT.call(new InputGradient(grad, kernel, size, stride, padding, dilation, groups));
        }

        Tensor weightGradient(Tensor grad, Tensor input) {
            long[] size = {weight.size(2), weight.size(3)};
            return CONV2D_WEIGHT_GRADIENT.call(
                    new WeightGradient(grad, input, size, stride, padding, dilation, groups));
        }
    }

    /** The shape of the result, if all fits. */
    private static Shape check(String op, Conv2d a) {
        Tensor x = a.x();
        Tensor w = a.weight();
        Softmax.requireFloating(op, x);
        LinearAlgebra.requireSame(op, x, "x", w, "weight");
        for (long[] pair : new long[][] {a.stride(), a.padding(), a.dilation()}) {
            if (pair.length != 2) {
                throw new ShapeException(
                        op + ": stride, padding and dilation take two numbers, but one has " + Arrays.toString(pair));
            }
        }
        if (x.rank() != 4 || w.rank() != 4) {
            throw new ShapeException(Message.of(op + ": needs x [N, C, H, W] and weight [O, C/groups, kh, kw]")
                    .fact("x", x.describe())
                    .fact("weight", w.describe())
                    .fix(
                            x.rank() == 3
                                    ? "x.unsqueeze(0) makes a batch of one image."
                                    : "reshape what has another rank."));
        }
        if (a.groups() < 1 || x.size(1) != Sizes.multiply(w.size(1), a.groups()) || w.size(0) % a.groups() != 0) {
            throw new ShapeException(Message.of(op + ": channels do not fit: x.size(1) = " + x.size(1)
                            + ", weight.size(1) = " + w.size(1) + ", groups = " + a.groups())
                    .fact("x", x.describe())
                    .fact("weight", w.describe())
                    .fix("x.size(1) must be weight.size(1) * groups, and weight.size(0) a multiple of groups."));
        }
        Tensor bias = a.bias();
        if (bias != null) {
            LinearAlgebra.requireSame(op, x, "x", bias, "bias");
            if (bias.rank() != 1 || bias.size(0) != w.size(0)) {
                throw new ShapeException(op + ": bias must be [" + w.size(0) + "], but is " + bias.describe());
            }
        }
        return Shape.of(
                x.size(0),
                w.size(0),
                Pooling.outputSize(op, x, 0, w.size(2), a.stride(), a.padding(), a.dilation()),
                Pooling.outputSize(op, x, 1, w.size(3), a.stride(), a.padding(), a.dilation()));
    }

    /**
     * Two-dimensional convolution (cross-correlation): x [N, C, H, W], weight [O, C/groups, kh, kw], bias [O] or null →
     * [N, O, OH, OW] with OH = ⌊(H + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1. One floating dtype. Gradient: x,
     * weight, bias, to any order.
     *
     * @param x [N, C, H, W], floating
     * @param weight [O, C/groups, kh, kw]
     * @param bias [O], or null
     * @param stride steps between windows, at least 1
     * @param padding zeros on all four sides
     * @param dilation steps between the taps of a kernel, at least 1
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @return [N, O, OH, OW]
     * @throws ShapeException if shapes do not fit or the kernel is larger than the padded image
     */
    public static Tensor conv2d(
            Tensor x, Tensor weight, @Nullable Tensor bias, long stride, long padding, long dilation, long groups) {
        return CONV2D.call(new Conv2d(
                x,
                weight,
                bias,
                new long[] {stride, stride},
                new long[] {padding, padding},
                new long[] {dilation, dilation},
                groups));
    }

    // ---------------------------------------------------------------- one and three dimensions, and transposed

    /**
     * What {@link #CONV_TRANSPOSE2D} takes.
     *
     * @param x [N, I, H, W]
     * @param weight [I, O/groups, kh, kw]
     * @param bias [O], or absent
     * @param stride of height and width: steps between the windows that elements of x are spread to
     * @param padding of height and width: what is cut off before and after
     * @param outputPadding how many rows and columns more the result has than it must
     * @param dilation of height and width: steps between the taps of a kernel
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     */
    public record ConvTranspose2d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] outputPadding,
            long[] dilation,
            long groups) {}

    /** The transpose of {@link #CONV2D}, which is the gradient of its x, and a bias. */
    public static final Op<ConvTranspose2d, Tensor> CONV_TRANSPOSE2D = Op.define(
                    "merapi::conv_transpose2d", ConvTranspose2d.class, Tensor.class)
            .compose(ConvolutionForms::transposed)
            .autocast(CastPolicy.LOWER)
            .register();

    /**
     * {@link #conv2d(Tensor, Tensor, Tensor, long, long, long, long)} of lines.
     *
     * @param x [N, C, L], floating
     * @param weight [O, C/groups, k]
     * @param bias [O], or null
     * @param stride steps between windows, at least 1
     * @param padding zeros before and after
     * @param dilation steps between the taps of a kernel, at least 1
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @return [N, O, OL] with OL = ⌊(L + 2·padding − dilation·(k − 1) − 1)/stride⌋ + 1
     * @throws ShapeException if shapes do not fit or the kernel is larger than the padded line
     */
    public static Tensor conv1d(
            Tensor x, Tensor weight, @Nullable Tensor bias, long stride, long padding, long dilation, long groups) {
        return convolution(
                "conv1d", 1, x, weight, bias, new long[] {stride}, new long[] {padding}, new long[] {dilation}, groups);
    }

    /**
     * {@link #conv2d(Tensor, Tensor, Tensor, long, long, long, long)} with numbers for height and width each.
     *
     * @param x [N, C, H, W], floating
     * @param weight [O, C/groups, kh, kw]
     * @param bias [O], or null
     * @param stride of height and width: steps between windows
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param dilation of height and width: steps between the taps of a kernel
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @return [N, O, OH, OW]
     * @throws ShapeException if shapes do not fit, the kernel is larger than the padded image, or there are not two
     *     numbers each
     */
    public static Tensor conv2d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups) {
        return CONV2D.call(new Conv2d(x, weight, bias, stride, padding, dilation, groups));
    }

    /**
     * {@link #conv2d(Tensor, Tensor, Tensor, long, long, long, long)} of volumes, with numbers for depth, height and
     * width each.
     *
     * @param x [N, C, D, H, W], floating
     * @param weight [O, C/groups, kd, kh, kw]
     * @param bias [O], or null
     * @param stride three steps between windows
     * @param padding three numbers of zeros before and after
     * @param dilation three steps between the taps of a kernel
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @return [N, O, OD, OH, OW]
     * @throws ShapeException if shapes do not fit, the kernel is larger than the padded volume, or there are not
     *     three numbers each
     */
    public static Tensor conv3d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups) {
        return convolution("conv3d", 3, x, weight, bias, stride, padding, dilation, groups);
    }

    private static Tensor convolution(
            String op,
            int dims,
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups) {
        ConvolutionForms.require(op, dims, x, weight, stride, padding, dilation);
        return dims == 1
                ? ConvolutionForms.ofLines(x, weight, bias, stride[0], padding[0], dilation[0], groups)
                : ConvolutionForms.ofVolumes(x, weight, bias, stride, padding, dilation, groups);
    }

    /**
     * Convolution of one to three dimensions, with a stride of 1, whose result is as large as x: "same" padding, one more at the
     * end where it cannot be even.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param weight [O, C/groups, k, ..], with as many sizes of the kernel
     * @param bias [O], or null
     * @param dilation a number for each dimension after the channels
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @return [N, O, ..] with the sizes of x after the channels
     * @throws ShapeException if shapes do not fit, or there are more than three dimensions after the channels
     */
    public static Tensor convSame(Tensor x, Tensor weight, @Nullable Tensor bias, long[] dilation, long groups) {
        return ConvolutionForms.same(x, weight, bias, dilation, groups);
    }

    /**
     * Transposed convolution of x [N, I, L] by weight [I, O/groups, k], bias [O] or null → [N, O, (L − 1)·stride − 2·padding +
     * dilation·(k − 1) + outputPadding + 1]. Gradient: x, weight, bias, to any order.
     *
     * @param x [N, I, L], floating
     * @param weight [I, O/groups, k]
     * @param bias [O], or null
     * @param stride steps between the windows that elements of x are spread to
     * @param padding what is cut off before and after
     * @param outputPadding what the result is longer at its end, less than stride or dilation
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @param dilation steps between the taps of a kernel
     * @return [N, O, OL]
     * @throws ShapeException if shapes do not fit, or outputPadding is not less than stride or dilation
     */
    public static Tensor convTranspose1d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long stride,
            long padding,
            long outputPadding,
            long groups,
            long dilation) {
        ConvolutionForms.require("convTranspose1d", 1, x, weight, new long[1]);
        return CONV_TRANSPOSE2D
                .call(new ConvTranspose2d(
                        x.unsqueeze(2),
                        weight.unsqueeze(2),
                        bias,
                        new long[] {1, stride},
                        new long[] {0, padding},
                        new long[] {0, outputPadding},
                        new long[] {1, dilation},
                        groups))
                .squeeze(2);
    }

    /**
     * {@link #convTranspose1d} of images, with numbers for height and width each.
     *
     * @param x [N, I, H, W], floating
     * @param weight [I, O/groups, kh, kw]
     * @param bias [O], or null
     * @param stride steps between the windows that elements of x are spread to
     * @param padding what is cut off before and after
     * @param outputPadding what the result is longer at its end, less than stride or dilation
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @param dilation steps between the taps of a kernel
     * @return [N, O, OH, OW]
     * @throws ShapeException if shapes do not fit, or an outputPadding is not less than stride or dilation
     */
    public static Tensor convTranspose2d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] outputPadding,
            long groups,
            long[] dilation) {
        return CONV_TRANSPOSE2D.call(
                new ConvTranspose2d(x, weight, bias, stride, padding, outputPadding, dilation, groups));
    }

    /**
     * {@link #convTranspose1d} of volumes, with numbers for depth, height and width each.
     *
     * @param x [N, I, D, H, W], floating
     * @param weight [I, O/groups, kd, kh, kw]
     * @param bias [O], or null
     * @param stride steps between the windows that elements of x are spread to
     * @param padding what is cut off before and after
     * @param outputPadding what the result is longer at its end, less than stride or dilation
     * @param groups how many groups channels fall into, each with kernels of its own; 1 is the usual
     * @param dilation steps between the taps of a kernel
     * @return [N, O, OD, OH, OW]
     * @throws ShapeException if shapes do not fit, or an outputPadding is not less than stride or dilation
     */
    public static Tensor convTranspose3d(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] outputPadding,
            long groups,
            long[] dilation) {
        ConvolutionForms.require("convTranspose3d", 3, x, weight, stride, padding, dilation, outputPadding);
        return ConvolutionForms.transposedVolumes(x, weight, bias, stride, padding, outputPadding, dilation, groups);
    }
}
