// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;

/**
 * Rows added to, or put into, the rows that indices choose: x[o, index[j], i] += source[o, j, i], for many indices. They
 * are sorted first, so that all rows are summed up at the same time and each still in one order; see {@code segments.cuh}.
 */
final class SegmentKernels {
    static final Family FAMILY =
            new Family("segments.cuh", "segment_keys", "segment_sums", "segment_joins", "segment_last");

    /** Fewer indices are done sooner one after the other than by sorting them first. */
    private static final long FEW = 32;

    private static final int THREADS = 256;

    /** What the kernels are compiled for. */
    record Types(DType storage, DType index, int pack) {
        String text() {
            return new IndexKernels.Types(storage, index).text() + "#define PACK " + pack + "\n";
        }
    }

    private final Kernels kernels;
    private final String op;
    private final String name;
    private final Tensor x;
    private final Tensor index;
    private final Tensor source;
    private final Types types;
    private final long lanes;
    private final long n;
    private final long size;
    private final long[] shape;
    private final long chunks;

    /**
     * @param name the op, as faults name it
     * @param x contiguous [outer, size, inner]
     * @param index contiguous [n], not empty
     * @param source contiguous [outer, n, inner], of the dtype of x, not empty
     */
    SegmentKernels(
            Kernels kernels, String op, String name, Tensor x, Tensor index, Tensor source, long inner, long size) {
        this.kernels = kernels;
        this.op = op;
        this.name = name;
        this.x = x;
        this.index = index;
        this.source = source;
        this.size = size;
        this.n = index.numel();
        int pack = LookupKernels.pack(x.dtype().byteSize(), 4, inner, x.address() | source.address());
        this.types = new Types(x.dtype(), index.dtype(), pack);
        this.lanes = source.numel() / n / pack;
        // As long as there are chunks: what goes on over all of them is joined in as many steps as each took.
        long chunk = Math.max(FEW, (long) Math.ceil(Math.sqrt(n) / 4) * 4);
        this.chunks = (n + chunk - 1) / chunk;
        this.shape = new long[] {source.numel() / n / inner, n, inner / pack, size, chunk, chunks};
    }

    /** Whether sorting pays, and its numbers suffice. */
    static boolean isFor(long indices, long size) {
        return indices > FEW && indices <= Integer.MAX_VALUE && size < Integer.MAX_VALUE;
    }

    private Family.Call call(String entry) {
        return FAMILY.call(kernels, op, x, entry, types, Types::text);
    }

    /** x[o, index[j], i] += source[o, j, i]; those of the index {@code padding} are left out, unless it is −1. */
    void add(long padding) {
        run(padding, true);
    }

    /** x[o, index[j], i] = source[o, j, i]; the last of several wins. */
    void put() {
        run(-1, false);
    }

    private void run(long padding, boolean adds) {
        try (RadixSort sort = new RadixSort(kernels, op, x.device(), 1, n, DType.INT32)) {
            call("segment_keys")
                    .pointer(index)
                    .pointer(sort.keys())
                    .word(n)
                    .word(size)
                    .word(padding)
                    .fault(name)
                    .each(n);
            // Those that add nothing have the key `size`.
            sort.run(Long.SIZE - Long.numberOfLeadingZeros(size));
            if (adds) {
                sum(sort.keys(), sort.places());
            } else {
                call("segment_last")
                        .pointer(sort.keys())
                        .pointer(sort.places())
                        .pointer(source)
                        .pointer(x)
                        .struct(shape)
                        .each(n * lanes);
            }
        }
    }

    private void sum(Tensor keys, Tensor places) {
        int across = (int) Math.min(THREADS, Long.highestOneBit(2 * lanes - 1));
        int down = THREADS / across;
        CudaRuntime.Grid grid = new CudaRuntime.Grid(
                (chunks + down - 1) / down, Math.min(65535, (lanes + across - 1) / across), 1, across, down, 1, 0);
        DType compute = x.dtype().isFloating() ? x.dtype().computeType() : DType.INT64;
        try (Tensor ends = Tensor.allocate(Shape.of(2, chunks, lanes, types.pack), compute, x.device())) {
            call("segment_sums")
                    .pointer(keys)
                    .pointer(places)
                    .pointer(source)
                    .pointer(x)
                    .pointer(ends)
                    .struct(shape)
                    .run(grid);
            if (chunks > 1) {
                call("segment_joins")
                        .pointer(keys)
                        .pointer(ends)
                        .pointer(x)
                        .struct(shape)
                        .run(grid);
            }
        }
    }
}
