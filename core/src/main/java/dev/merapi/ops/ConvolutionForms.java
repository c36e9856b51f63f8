// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The forms of convolution that are two-dimensional ones of something: lines are images of one row, and of a volume the
 * slices that a kernel covers are further channels of images. So all of them have the kernels that images have.
 */
final class ConvolutionForms {
    private static final String[] NUMBERS = {"stride", "padding", "dilation", "outputPadding"};

    private ConvolutionForms() {}

    static void require(String op, int dims, Tensor x, Tensor weight, long[]... numbers) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(weight, "weight");
        boolean fits = x.rank() == dims + 2 && weight.rank() == dims + 2;
        for (int i = 0; i < numbers.length; i++) {
            fits &= Objects.requireNonNull(numbers[i], NUMBERS[i]).length == dims;
        }
        if (!fits) {
            throw new ShapeException(Message.of(op + ": needs x and weight of " + (dims + 2) + " dimensions, and "
                            + dims + " numbers for each of stride, padding and dilation")
                    .fact("x", x.describe())
                    .fact("weight", weight.describe())
                    .fix("x.unsqueeze(0) makes a batch of one."));
        }
    }

    static Tensor ofLines(
            Tensor x, Tensor weight, @Nullable Tensor bias, long stride, long padding, long dilation, long groups) {
        return Convolution.CONV2D
                .call(new Convolution.Conv2d(
                        x.unsqueeze(2),
                        weight.unsqueeze(2),
                        bias,
                        new long[] {1, stride},
                        new long[] {0, padding},
                        new long[] {1, dilation},
                        groups))
                .squeeze(2);
    }

    static Tensor ofVolumes(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups) {
        // [N, C, kd, OD, H, W]
        Tensor slices =
                Windows.UNFOLD.call(new Windows.Unfold(x, 2, weight.size(2), stride[0], padding[0], dilation[0]));
        long depth = slices.size(3);
        Tensor images = slices.permute(0, 3, 1, 2, 4, 5)
                .reshape(x.size(0) * depth, x.size(1) * weight.size(2), x.size(3), x.size(4));
        Tensor kernel = weight.reshape(weight.size(0), weight.size(1) * weight.size(2), weight.size(3), weight.size(4));
        Tensor y = Convolution.CONV2D.call(
                new Convolution.Conv2d(images, kernel, bias, last(stride), last(padding), last(dilation), groups));
        return y.view(x.size(0), depth, y.size(1), y.size(2), y.size(3))
                .permute(0, 2, 1, 3, 4)
                .contiguous();
    }

    static Tensor same(Tensor x, Tensor weight, @Nullable Tensor bias, long[] dilation, long groups) {
        int dims = Objects.requireNonNull(dilation, "dilation").length;
        require("convSame", dims, x, weight, dilation);
        long[] padding = new long[dims];
        long[] amounts = new long[2 * dims];
        long[] stride = new long[dims];
        Arrays.fill(stride, 1);
        boolean even = true;
        for (int d = 0; d < dims; d++) {
            long total = Sizes.multiply(dilation[d], Math.max(0, weight.size(2 + d) - 1));
            padding[d] = total / 2;
            amounts[2 * (dims - 1 - d) + 1] = total % 2;
            even &= total % 2 == 0;
        }
        // One zero more at the end; those on both sides are the convolution's.
        Tensor padded = even ? x : x.pad(0, amounts);
        return switch (dims) {
            case 1 -> ofLines(padded, weight, bias, 1, padding[0], dilation[0], groups);
            case 2 -> Convolution.conv2d(padded, weight, bias, stride, padding, dilation, groups);
            case 3 -> ofVolumes(padded, weight, bias, stride, padding, dilation, groups);
            default -> throw new ShapeException("convSame: has one to three dimensions, not " + dims);
        };
    }

    static Tensor transposed(Convolution.ConvTranspose2d a) {
        require("convTranspose2d", 2, a.x(), a.weight(), a.stride(), a.padding(), a.dilation(), a.outputPadding());
        long[] size = new long[2];
        boolean within = true;
        for (int d = 0; d < 2; d++) {
            long extra = a.outputPadding()[d];
            requireExtra("convTranspose2d", extra, a.stride()[d], a.dilation()[d]);
            within &= extra < Math.max(1, a.stride()[d]);
            size[d] = whole(a.x().size(2 + d), a.weight().size(2 + d), a.stride()[d], a.dilation()[d]);
        }
        Tensor y;
        if (within) {
            for (int d = 0; d < 2; d++) {
                size[d] = positive(Sizes.add(size[d], a.outputPadding()[d]) - Sizes.multiply(2, a.padding()[d]), a.x());
            }
            y = Convolution.CONV2D_INPUT_GRADIENT.call(new Convolution.InputGradient(
                    a.x(), a.weight(), size, a.stride(), a.padding(), a.dilation(), a.groups()));
        } else { // more zeros than a stride leaves: put behind the whole, of which padding cuts off
            Tensor all = Convolution.CONV2D_INPUT_GRADIENT.call(new Convolution.InputGradient(
                    a.x(), a.weight(), size, a.stride(), new long[2], a.dilation(), a.groups()));
            long[] p = a.padding();
            long[] extra = a.outputPadding();
            y = all.pad(0, -p[1], extra[1] - p[1], -p[0], extra[0] - p[0]);
        }
        Tensor bias = a.bias();
        return bias == null ? y : y.add(channels("convTranspose2d", y, bias));
    }

    static Tensor transposedVolumes(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            long[] stride,
            long[] padding,
            long[] outputPadding,
            long[] dilation,
            long groups) {
        requireExtra("convTranspose3d", outputPadding[0], stride[0], dilation[0]);
        Tensor images = x.permute(0, 2, 1, 3, 4).reshape(x.size(0) * x.size(2), x.size(1), x.size(3), x.size(4));
        Tensor kernel = weight.reshape(weight.size(0), weight.size(1) * weight.size(2), weight.size(3), weight.size(4));
        Tensor slices = Convolution.CONV_TRANSPOSE2D.call(new Convolution.ConvTranspose2d(
                images, kernel, null, last(stride), last(padding), last(outputPadding), last(dilation), groups));
        // [N·D, O·kd, H, W] as [N, O, kd, D, H, W], whose overlapping slices are added up.
        Tensor apart = slices.view(
                        x.size(0),
                        x.size(2),
                        slices.size(1) / Math.max(1, weight.size(2)),
                        weight.size(2),
                        slices.size(2),
                        slices.size(3))
                .permute(0, 2, 3, 1, 4, 5);
        long whole = whole(x.size(2), weight.size(2), stride[0], dilation[0]);
        Tensor all = Windows.FOLD.call(new Windows.Fold(apart, 2, whole, stride[0], 0, dilation[0]));
        Tensor y = all.pad(0, 0, 0, 0, 0, -padding[0], outputPadding[0] - padding[0]);
        return bias == null ? y : y.add(channels("convTranspose3d", y, bias));
    }

    /** The size without padding. */
    private static long whole(long n, long kernel, long stride, long dilation) {
        return Sizes.add(
                Sizes.multiply(Math.max(0, n - 1), stride),
                Sizes.add(Sizes.multiply(dilation, Math.max(0, kernel - 1)), 1));
    }

    private static long positive(long size, Tensor x) {
        if (size < 1) {
            throw new ShapeException("convTranspose2d: the padding cuts off all of the result\n  x: " + x.describe()
                    + "\n  fix: less padding.");
        }
        return size;
    }

    private static void requireExtra(String op, long extra, long stride, long dilation) {
        if (extra < 0 || extra > 0 && extra >= Math.max(stride, dilation)) {
            throw new ShapeException(op + ": outputPadding " + extra + " must be at least 0, and less than the stride, "
                    + stride + ", or the dilation, " + dilation);
        }
    }

    private static Tensor channels(String op, Tensor y, Tensor bias) {
        LinearAlgebra.requireSame(op, y, "x", bias, "bias");
        if (bias.rank() != 1 || bias.size(0) != y.size(1)) {
            throw new ShapeException(op + ": bias must be [" + y.size(1) + "], but is " + bias.describe());
        }
        long[] shape = new long[y.rank() - 1];
        Arrays.fill(shape, 1);
        shape[0] = y.size(1);
        return bias.reshape(shape);
    }

    private static long[] last(long[] three) {
        return new long[] {three[1], three[2]};
    }
}
