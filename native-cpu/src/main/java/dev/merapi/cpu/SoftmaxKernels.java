// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.cpu.IndexKernels.Around;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Scans;
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
        table.put("cumprod", Scans.Along.class, SoftmaxKernels::scans, SoftmaxKernels::cumprod);
        table.put("logcumsumexp", Scans.Along.class, FLOATING, SoftmaxKernels::logCumSumExp);
        table.put("cummax", Scans.Along.class, Scans.Extremes.class, SoftmaxKernels::isNumber, SoftmaxKernels::cummax);
        table.put("cummin", Scans.Along.class, Scans.Extremes.class, SoftmaxKernels::isNumber, SoftmaxKernels::cummin);
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

    static void cumprod(Scans.Along a, Tensor out) {
        Around r = Around.of(a.x().shape(), a.dim());
        Tensor x = a.x().to(out.dtype());
        Native.cumprod(DTypes.code(out.dtype()), x.address(), r.outer(), r.length(), r.inner(), out.address());
    }

    static void logCumSumExp(Scans.Along a, Tensor out) {
        Around r = Around.of(a.x().shape(), a.dim());
        Native.logcumsumexp(DTypes.code(out.dtype()), a.x().address(), r.outer(), r.length(), r.inner(), out.address());
    }

    static void cummax(Scans.Along a, Scans.Extremes out) {
        extreme(a, out, 1);
    }

    static void cummin(Scans.Along a, Scans.Extremes out) {
        extreme(a, out, 0);
    }

    private static void extreme(Scans.Along a, Scans.Extremes out, int largest) {
        Around r = Around.of(a.x().shape(), a.dim());
        Native.cumulative_extreme(
                DTypes.code(a.x().dtype()),
                largest,
                a.x().address(),
                r.outer(),
                r.length(),
                r.inner(),
                out.values().address(),
                out.indices().address());
    }

    private static boolean isNumber(DType dtype) {
        return dtype != DType.BOOL;
    }

    /** True if the native running sums know the dtype. */
    static boolean scans(DType dtype) {
        return dtype.isFloating() || dtype == DType.INT64;
    }
}
