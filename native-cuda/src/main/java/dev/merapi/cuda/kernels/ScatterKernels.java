// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Scattering;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;

/**
 * Values that meet at an element, reduced: they are sorted by it, stably, and each element has a thread that takes its own
 * in their order. So the result does not depend on what runs when. Small floats are reduced in float32, and round once.
 */
public final class ScatterKernels {
    public static final Family FAMILY = new Family("scattering.cuh", "scatter_targets", "scatter_reduce");

    private final Kernels kernels;
    private final String op;

    private ScatterKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        table.make(
                "scatter_reduce",
                Scattering.ScatterReduce.class,
                dtype -> dtype != DType.BOOL,
                op -> new ScatterKernels(op, kernels),
                ScatterKernels::reduce);
    }

    private void reduce(Scattering.ScatterReduce a, Tensor out) {
        IndexKernels.requireInside(kernels, op, a.index(), out.rank() == 0 ? 1 : out.size(a.dim()));
        out.copy_(a.x());
        if (a.src().numel() == 0) {
            return;
        }
        DType compute = out.dtype().computeType();
        if (compute == out.dtype()) {
            reduce(a, a.src(), out);
            return;
        }
        try (Tensor result = TENSORS.allocate(out.shape(), compute, out.device());
                Tensor source = TENSORS.allocate(a.src().shape(), compute, out.device())) {
            result.copy_(a.x());
            source.copy_(a.src());
            reduce(a, source, result);
            out.copy_(result);
        }
    }

    private void reduce(Scattering.ScatterReduce a, Tensor source, Tensor x) {
        long count = source.numel();
        long all = x.numel();
        if (count > Integer.MAX_VALUE || all >= Integer.MAX_VALUE) {
            throw new ShapeException(
                    "scatter_reduce: " + count + " sources for " + all + " elements; on a GPU less than 2^31");
        }
        Device device = x.device();
        IndexKernels.Types types = new IndexKernels.Types(x.dtype(), a.index().dtype());
        try (RadixSort sort = new RadixSort(kernels, op, device, 1, count, DType.INT32)) {
            FAMILY.call(kernels, op, x, "scatter_targets", types, IndexKernels.Types::text)
                    .pointer(a.index())
                    .pointer(sort.keys())
                    .word(count)
                    .word(source.rank() == 0 ? 1 : source.size(a.dim()))
                    .word(IndexKernels.inner(x.shape(), a.dim()))
                    .word(x.rank() == 0 ? 1 : x.size(a.dim()))
                    .word(all)
                    .fault("scatter_reduce")
                    .each(count);
            sort.run(Long.SIZE - Long.numberOfLeadingZeros(all));
            FAMILY.call(kernels, op, x, "scatter_reduce", types, IndexKernels.Types::text)
                    .pointer(x)
                    .pointer(sort.keys())
                    .pointer(sort.places())
                    .pointer(source)
                    .word(count)
                    .word(all)
                    .half(number(a.reduce()))
                    .flag(a.includeSelf())
                    .each(count);
        }
    }

    /** As {@code Reduction} in the kernels. */
    private static int number(Reduce reduce) {
        return switch (reduce) {
            case SUM -> 0;
            case PROD -> 1;
            case MEAN -> 2;
            case AMAX -> 3;
            case AMIN -> 4;
        };
    }
}
