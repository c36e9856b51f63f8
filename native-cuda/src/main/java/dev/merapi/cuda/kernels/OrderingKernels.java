// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Searching;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;

/**
 * Sorting. A row that a block holds, of up to {@link RadixSort#TILE} elements, is sorted by one block, in its shared memory;
 * longer rows by {@link RadixSort}, for which they become keys.
 */
public final class OrderingKernels {
    public static final Family FAMILY =
            Family.above("radix.cuh", "ordering.cuh", "topk", "keys_of", "first_of", "search_sorted");

    /** What the kernels are compiled for: the elements of a row that a thread has. */
    public record Types(DType storage, int each) {
        public String text() {
            return Family.type("T", storage) + "#define EACH " + each + "\n";
        }
    }

    private static final int THREADS = 256;
    private static final int MOST = RadixSort.TILE / THREADS;

    private OrderingKernels() {}

    static void register(KernelTable table, Kernels kernels) {
        table.make(
                "topk",
                Ordering.TopK.class,
                Ordering.Ordered.class,
                ALL,
                op -> op,
                (String op, Ordering.TopK a, Ordering.Ordered out) -> topk(op, kernels, a, out));
        table.make(
                "search_sorted",
                Searching.SearchSorted.class,
                ALL,
                op -> op,
                (String op, Searching.SearchSorted a, Tensor out) -> searchSorted(op, kernels, a, out));
    }

    private static void searchSorted(String op, Kernels kernels, Searching.SearchSorted a, Tensor out) {
        call(op, kernels, a.values(), "search_sorted", MOST)
                .pointer(a.sorted())
                .pointer(a.values())
                .pointer(out)
                .word(out.numel())
                .word(a.sorted().size(-1))
                .word(
                        a.sorted().rank() == 1
                                ? Math.max(1, out.numel())
                                : a.values().size(-1))
                .flag(a.right())
                .each(out.numel());
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
        if (n <= RadixSort.TILE) {
            inBlocks(op, kernels, a, out, n);
        } else {
            overBlocks(op, kernels, a, out, n);
        }
    }

    private static Family.Call call(String op, Kernels kernels, Tensor x, String entry, int each) {
        return FAMILY.call(kernels, op, x, entry, new Types(x.dtype(), each), Types::text);
    }

    private static void inBlocks(String op, Kernels kernels, Ordering.TopK a, Ordering.Ordered out, long n) {
        Tensor x = a.x();
        long rows = x.numel() / n;
        call(op, kernels, x, "topk", n <= THREADS ? 1 : n <= 4 * THREADS ? 4 : MOST)
                .pointer(x)
                .pointer(out.values())
                .pointer(out.indices())
                .word(rows)
                .word(n)
                .word(a.k())
                .flag(a.largest())
                .run(CudaRuntime.Grid.of(Math.min(rows, Integer.MAX_VALUE), THREADS));
    }

    private static void overBlocks(String op, Kernels kernels, Ordering.TopK a, Ordering.Ordered out, long n) {
        Tensor x = a.x();
        int bytes = x.dtype().byteSize();
        long rows = x.numel() / n;
        DType key = bytes == Long.BYTES ? DType.INT64 : DType.INT32;
        try (RadixSort sort = new RadixSort(kernels, op, x.device(), rows, n, key)) {
            call(op, kernels, x, "keys_of", MOST)
                    .pointer(x)
                    .pointer(sort.keys())
                    .word(x.numel())
                    .flag(a.largest())
                    .each(x.numel());
            sort.run(bytes * Byte.SIZE);
            call(op, kernels, x, "first_of", MOST)
                    .pointer(x)
                    .pointer(sort.places())
                    .pointer(out.values())
                    .pointer(out.indices())
                    .word(rows)
                    .word(n)
                    .word(a.k())
                    .each(rows * a.k());
        }
    }
}
