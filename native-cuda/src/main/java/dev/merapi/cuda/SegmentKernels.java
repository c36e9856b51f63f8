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
    static final Family FAMILY = Family.above(
            "radix.cuh",
            "segments.cuh",
            "segment_keys",
            "segment_counts",
            "segment_offsets",
            "segment_move",
            "segment_sums",
            "segment_joins",
            "segment_last");

    /** Fewer indices are done sooner one after the other than by sorting them first. */
    private static final long FEW = 32;

    private static final int THREADS = 256;
    private static final int BITS = 4;
    private static final int DIGITS = 1 << BITS;
    private static final int TILE = THREADS * 16;

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

    private Tensor words(long count) {
        return Tensor.allocate(Shape.of(count), DType.INT32, x.device());
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
        long tiles = (n + TILE - 1) / TILE;
        Tensor[] keys = {words(n), words(n)};
        Tensor[] places = {words(n), words(n)};
        try (Tensor table = words(DIGITS * tiles)) {
            call("segment_keys")
                    .pointer(index)
                    .pointer(keys[0])
                    .pointer(places[0])
                    .word(n)
                    .word(size)
                    .word(padding)
                    .fault(name)
                    .each(n);
            int from = 0;
            for (int shift = 0; size >> shift != 0; shift += BITS, from = 1 - from) {
                call("segment_counts")
                        .pointer(keys[from])
                        .pointer(table)
                        .word(n)
                        .half(shift)
                        .run(CudaRuntime.Grid.of(tiles, THREADS));
                call("segment_offsets").pointer(table).word(DIGITS * tiles).run(CudaRuntime.Grid.of(1, THREADS));
                call("segment_move")
                        .pointer(keys[from])
                        .pointer(places[from])
                        .pointer(table)
                        .pointer(keys[1 - from])
                        .pointer(places[1 - from])
                        .word(n)
                        .half(shift)
                        .run(CudaRuntime.Grid.of(tiles, THREADS));
            }
            if (adds) {
                sum(keys[from], places[from]);
            } else {
                call("segment_last")
                        .pointer(keys[from])
                        .pointer(places[from])
                        .pointer(source)
                        .pointer(x)
                        .struct(shape)
                        .each(n * lanes);
            }
        } finally {
            for (int i = 0; i < 2; i++) {
                keys[i].close();
                places[i].close();
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
