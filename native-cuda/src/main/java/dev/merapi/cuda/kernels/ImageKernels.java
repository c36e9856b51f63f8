// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Tensor;
import java.util.function.Function;

/**
 * Convolution and pooling. Convolutions go to {@link ConvolutionTiles}; those that it does not serve, float64 and groups of
 * few channels, and pooling compute each result by its own sum.
 */
public final class ImageKernels {
    public static final Family FAMILY = new Family(
            "images.cuh",
            "convolve",
            "convolve_input_gradient",
            "convolve_weight_gradient",
            "max_pool",
            "max_pool_backward",
            "average_pool",
            "average_pool_backward");
    private static final long[] ONE = {1, 1};

    private final Kernels kernels;
    private final String op;

    private ImageKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, ImageKernels> of = op -> new ImageKernels(op, kernels);
        table.make("conv2d", Convolution.Conv2d.class, FLOATING, of, ImageKernels::convolve);
        table.make("conv2d_input_gradient", Convolution.InputGradient.class, FLOATING, of, ImageKernels::inputGradient);
        table.make(
                "conv2d_weight_gradient", Convolution.WeightGradient.class, FLOATING, of, ImageKernels::weightGradient);
        table.make(
                "max_pool2d",
                Pooling.MaxPool2d.class,
                Pooling.MaxPoolResult.class,
                FLOATING,
                of,
                ImageKernels::maxPool);
        table.make("max_pool2d_backward", Pooling.MaxPool2dBackward.class, FLOATING, of, ImageKernels::maxPoolBackward);
        table.make("avg_pool2d", Pooling.AvgPool2d.class, FLOATING, of, ImageKernels::averagePool);
        table.make(
                "avg_pool2d_backward",
                Pooling.AvgPool2dBackward.class,
                FLOATING,
                of,
                ImageKernels::averagePoolBackward);
    }

    private Family.Call call(Tensor at, String entry) {
        return FAMILY.call(kernels, op, at, entry, at.dtype());
    }

    private static long[] window(
            Tensor x, Tensor y, long[] kernel, long[] stride, long[] padding, long[] dilation, long groups) {
        return new long[] {
            x.size(0),
            x.size(1),
            x.size(2),
            x.size(3),
            y.size(1),
            y.size(2),
            y.size(3),
            kernel[0],
            kernel[1],
            stride[0],
            stride[1],
            padding[0],
            padding[1],
            dilation[0],
            dilation[1],
            groups
        };
    }

    private static long[] size(Tensor weight) {
        return new long[] {weight.size(2), weight.size(3)};
    }

    private boolean tiled(ConvolutionTiles tiles) {
        if (!tiles.serves(kernels.runtime().properties(tiles.out().device().index()))) {
            return false;
        }
        tiles.run(kernels);
        return true;
    }

    private void convolve(Convolution.Conv2d a, Tensor out) {
        long[] sizes = window(a.x(), out, size(a.weight()), a.stride(), a.padding(), a.dilation(), a.groups());
        if (tiled(ConvolutionTiles.of(a, out, sizes))) {
            return;
        }
        call(out, "convolve")
                .pointer(a.x())
                .pointer(a.weight())
                .pointer(a.bias())
                .pointer(out)
                .struct(sizes)
                .each(out.numel());
    }

    private void inputGradient(Convolution.InputGradient a, Tensor out) {
        long[] sizes = window(out, a.grad(), size(a.weight()), a.stride(), a.padding(), a.dilation(), a.groups());
        if (tiled(ConvolutionTiles.of(a, out, sizes))) {
            return;
        }
        call(out, "convolve_input_gradient")
                .pointer(a.grad())
                .pointer(a.weight())
                .pointer(out)
                .struct(sizes)
                .each(out.numel());
    }

    private void weightGradient(Convolution.WeightGradient a, Tensor out) {
        long[] sizes = window(a.x(), a.grad(), a.kernelSize(), a.stride(), a.padding(), a.dilation(), a.groups());
        if (tiled(ConvolutionTiles.of(a, out, sizes))) {
            return;
        }
        call(out, "convolve_weight_gradient")
                .pointer(a.grad())
                .pointer(a.x())
                .pointer(out)
                .struct(sizes)
                .run(CudaRuntime.Grid.of(Math.min(out.numel(), Integer.MAX_VALUE), 256));
    }

    private void maxPool(Pooling.MaxPool2d a, Pooling.MaxPoolResult out) {
        if (out.y().numel() == 0) {
            return;
        }
        call(out.y(), "max_pool")
                .pointer(a.x())
                .pointer(out.y())
                .pointer(out.indices())
                .struct(window(a.x(), out.y(), a.kernel(), a.stride(), a.padding(), a.dilation(), 1))
                .each(out.y().numel());
    }

    private void maxPoolBackward(Pooling.MaxPool2dBackward a, Tensor out) {
        call(out, "max_pool_backward")
                .pointer(a.grad())
                .pointer(a.indices())
                .pointer(out)
                .struct(window(out, a.grad(), a.kernel(), a.stride(), a.padding(), a.dilation(), 1))
                .each(out.numel());
    }

    private void averagePool(Pooling.AvgPool2d a, Tensor out) {
        call(out, "average_pool")
                .pointer(a.x())
                .pointer(out)
                .struct(window(a.x(), out, a.kernel(), a.stride(), a.padding(), ONE, 1))
                .flag(a.countIncludePad())
                .each(out.numel());
    }

    private void averagePoolBackward(Pooling.AvgPool2dBackward a, Tensor out) {
        call(out, "average_pool_backward")
                .pointer(a.grad())
                .pointer(out)
                .struct(window(out, a.grad(), a.kernel(), a.stride(), a.padding(), ONE, 1))
                .flag(a.countIncludePad())
                .each(out.numel());
    }
}
