// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Tensor;

/** Convolution and pooling of images [N, C, H, W]. */
final class ConvolutionKernels {
    private ConvolutionKernels() {}

    static void register(KernelTable table) {
        table.put("conv2d", Convolution.Conv2d.class, FLOATING, ConvolutionKernels::forward);
        table.put(
                "conv2d_input_gradient", Convolution.InputGradient.class, FLOATING, ConvolutionKernels::inputGradient);
        table.put(
                "conv2d_weight_gradient",
                Convolution.WeightGradient.class,
                FLOATING,
                ConvolutionKernels::weightGradient);
        table.put(
                "max_pool2d",
                Pooling.MaxPool2d.class,
                Pooling.MaxPoolResult.class,
                FLOATING,
                ConvolutionKernels::maxPool);
        table.put(
                "max_pool2d_backward", Pooling.MaxPool2dBackward.class, FLOATING, ConvolutionKernels::maxPoolBackward);
        table.put("avg_pool2d", Pooling.AvgPool2d.class, FLOATING, ConvolutionKernels::avgPool);
        table.put(
                "avg_pool2d_backward", Pooling.AvgPool2dBackward.class, FLOATING, ConvolutionKernels::avgPoolBackward);
    }

    private static Scratch convolution(
            long n,
            long c,
            long h,
            long w,
            long o,
            long[] kernel,
            long[] stride,
            long[] padding,
            long[] dilation,
            long groups,
            Tensor result) {
        Blas.ensure();
        Scratch s = Scratch.begin().reserve(16);
        s.put(n).put(c).put(h).put(w).put(o).put(kernel[0]).put(kernel[1]);
        s.put(stride[0])
                .put(stride[1])
                .put(padding[0])
                .put(padding[1])
                .put(dilation[0])
                .put(dilation[1])
                .put(groups);
        return s.put(result.size(2)).put(result.size(3));
    }

    static void forward(Convolution.Conv2d a, Tensor out) {
        Tensor x = a.x();
        Tensor w = a.weight();
        Scratch s = convolution(
                x.size(0),
                x.size(1),
                x.size(2),
                x.size(3),
                w.size(0),
                new long[] {w.size(2), w.size(3)},
                a.stride(),
                a.padding(),
                a.dilation(),
                a.groups(),
                out);
        Tensor bias = a.bias();
        Native.conv2d(
                DTypes.code(out.dtype()),
                s.address(),
                x.address(),
                w.address(),
                bias == null ? 0 : bias.address(),
                out.address());
    }

    static void inputGradient(Convolution.InputGradient a, Tensor out) {
        Tensor w = a.weight();
        Scratch s = convolution(
                out.size(0),
                out.size(1),
                out.size(2),
                out.size(3),
                w.size(0),
                new long[] {w.size(2), w.size(3)},
                a.stride(),
                a.padding(),
                a.dilation(),
                a.groups(),
                a.grad());
        Native.conv2d_backward(
                DTypes.code(out.dtype()), s.address(), 0, w.address(), a.grad().address(), out.address(), 0, 0);
    }

    static void weightGradient(Convolution.WeightGradient a, Tensor out) {
        Tensor x = a.x();
        Scratch s = convolution(
                x.size(0),
                x.size(1),
                x.size(2),
                x.size(3),
                out.size(0),
                a.kernelSize(),
                a.stride(),
                a.padding(),
                a.dilation(),
                a.groups(),
                a.grad());
        Native.conv2d_backward(
                DTypes.code(out.dtype()), s.address(), x.address(), 0, a.grad().address(), 0, out.address(), 0);
    }

    private static Scratch pooling(
            Tensor grid, long h, long w, long[] kernel, long[] stride, long[] padding, long[] dilation) {
        Scratch s = Scratch.begin().reserve(13);
        s.put(grid.size(0) * grid.size(1))
                .put(h)
                .put(w)
                .put(kernel[0])
                .put(kernel[1])
                .put(stride[0])
                .put(stride[1]);
        s.put(padding[0]).put(padding[1]).put(dilation[0]).put(dilation[1]);
        return s.put(grid.size(2)).put(grid.size(3));
    }

    static void maxPool(Pooling.MaxPool2d a, Pooling.MaxPoolResult out) {
        Tensor x = a.x();
        Scratch s = pooling(out.y(), x.size(2), x.size(3), a.kernel(), a.stride(), a.padding(), a.dilation());
        Native.max_pool2d(
                DTypes.code(x.dtype()),
                s.address(),
                x.address(),
                out.y().address(),
                out.indices().address());
    }

    static void maxPoolBackward(Pooling.MaxPool2dBackward a, Tensor out) {
        Scratch s = pooling(a.grad(), out.size(2), out.size(3), a.kernel(), a.stride(), a.padding(), a.dilation());
        Native.max_pool2d_backward(
                DTypes.code(out.dtype()),
                s.address(),
                a.grad().address(),
                a.indices().address(),
                out.address());
    }

    static void avgPool(Pooling.AvgPool2d a, Tensor out) {
        Tensor x = a.x();
        Scratch s = pooling(out, x.size(2), x.size(3), a.kernel(), a.stride(), a.padding(), new long[] {1, 1});
        Native.avg_pool2d(DTypes.code(x.dtype()), s.address(), a.countIncludePad() ? 1 : 0, x.address(), out.address());
    }

    static void avgPoolBackward(Pooling.AvgPool2dBackward a, Tensor out) {
        Scratch s = pooling(a.grad(), out.size(2), out.size(3), a.kernel(), a.stride(), a.padding(), new long[] {1, 1});
        Native.avg_pool2d_backward(
                DTypes.code(out.dtype()),
                s.address(),
                a.countIncludePad() ? 1 : 0,
                a.grad().address(),
                out.address());
    }
}
