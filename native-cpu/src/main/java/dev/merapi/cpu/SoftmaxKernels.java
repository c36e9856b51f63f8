// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.cpu.IndexKernels.Around;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;

/** Softmax and its kin, and running sums, along any dimension. */
final class SoftmaxKernels {
    private SoftmaxKernels() {}

    static void register(KernelTable table) {
        table.put("softmax", Softmax.Along.class, FLOATING, SoftmaxKernels::softmax);
        table.put("log_softmax", Softmax.Along.class, FLOATING, SoftmaxKernels::logSoftmax);
        table.put("softmax_backward", Softmax.BackwardArgs.class, FLOATING, SoftmaxKernels::softmaxBackward);
        table.put("log_softmax_backward", Softmax.BackwardArgs.class, FLOATING, SoftmaxKernels::logSoftmaxBackward);
        table.put("logsumexp", Softmax.Along.class, FLOATING, SoftmaxKernels::logSumExp);
        table.put("cumsum", Reductions.CumSum.class, SoftmaxKernels::scans, SoftmaxKernels::cumsum);
    }

    static void softmax(Softmax.Along a, Tensor out) {
        Around r = Around.of(a.x().shape(), a.dim());
        Native.softmax(DTypes.code(out.dtype()), a.x().address(), out.address(), r.outer(), r.length(), r.inner());
    }

    static void logSoftmax(Softmax.Along a, Tensor out) {
        Around r = Around.of(a.x().shape(), a.dim());
        Native.log_softmax(DTypes.code(out.dtype()), a.x().address(), out.address(), r.outer(), r.length(), r.inner());
    }

    static void softmaxBackward(Softmax.BackwardArgs a, Tensor out) {
        Around r = Around.of(a.y().shape(), a.dim());
        Native.softmax_backward(
                DTypes.code(out.dtype()),
                a.y().address(),
                a.grad().address(),
                out.address(),
                r.outer(),
                r.length(),
                r.inner());
    }

    static void logSoftmaxBackward(Softmax.BackwardArgs a, Tensor out) {
        Around r = Around.of(a.y().shape(), a.dim());
        Native.log_softmax_backward(
                DTypes.code(out.dtype()),
                a.y().address(),
                a.grad().address(),
                out.address(),
                r.outer(),
                r.length(),
                r.inner());
    }

    static void logSumExp(Softmax.Along a, Tensor out) {
        Around r = Around.of(a.x().shape(), a.dim());
        Native.logsumexp(DTypes.code(out.dtype()), a.x().address(), out.address(), r.outer(), r.length(), r.inner());
    }

    static void cumsum(Reductions.CumSum a, Tensor out) {
        Around r = Around.of(a.x().shape(), a.dim());
        Tensor x = a.x().to(out.dtype()); // bools and small integers are summed as int64
        Native.cumsum(DTypes.code(out.dtype()), x.address(), r.outer(), r.length(), r.inner(), out.address());
    }

    /** True if the native running sums know the dtype. */
    static boolean scans(DType dtype) {
        return dtype.isFloating() || dtype == DType.INT64;
    }
}
