// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Kernel;
import dev.merapi.ops.Ordering;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/** Sorting: a block for each row, which is right for many rows, and slow for a single long one. */
final class OrderingKernels {
    static final Family FAMILY = Family.above("radix.cuh", "ordering.cuh", "topk");

    private static final int THREADS = 256;

    private OrderingKernels() {}

    static @Nullable Object kernel(String op, Kernels kernels) {
        return op.equals("merapi::topk")
                ? (Kernel<Ordering.TopK, Ordering.Ordered>) (a, out) -> topk(op, kernels, a, out)
                : null;
    }

    private static void topk(String op, Kernels kernels, Ordering.TopK a, Ordering.Ordered out) {
        Tensor x = a.x();
        long n = x.rank() == 0 ? 1 : x.size(-1);
        if (out.values().numel() == 0) {
            return;
        }
        if (n > Integer.MAX_VALUE) {
            throw new ShapeException("topk: rows of " + n + " elements; on a GPU at most 2^31 - 1");
        }
        Shape two = Shape.of(2, x.numel());
        DType key = x.dtype().byteSize() == Long.BYTES ? DType.INT64 : DType.INT32;
        try (Tensor keys = Tensor.allocate(two, key, x.device());
                Tensor places = Tensor.allocate(two, DType.INT32, x.device())) {
            long rows = x.numel() / n;
            FAMILY.call(kernels, op, x, "topk", x.dtype())
                    .pointer(x)
                    .pointer(out.values())
                    .pointer(out.indices())
                    .pointer(keys)
                    .pointer(places)
                    .word(rows)
                    .word(n)
                    .word(a.k())
                    .flag(a.largest())
                    .run(CudaRuntime.Grid.of(Math.min(rows, Integer.MAX_VALUE), THREADS));
        }
    }
}
