// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/**
 * Rows added to, or put into, the rows that indices choose: x[o, index[j], i] += source[o, j, i], for many indices. They
 * are sorted first, so that all rows are summed up at the same time and each still in one order; see {@code segments.cuh}.
 * Where each element has its own index, x[o, index[o, j, i], i] += source[o, j, i], all of x are rows of one element.
 */
public final class SegmentKernels {
    public static final Family FAMILY = new Family(
            "segments.cuh", "segment_keys", "segment_targets", "segment_sums", "segment_joins", "segment_last");

    /** Fewer indices are done sooner one after the other than by sorting them first. */
    private static final long FEW = 32;

    /** With as many lanes a thread for each of them fills a device, and needs no sorting. */
    private static final long MANY_LANES = 16384;

    private static final int THREADS = 256;

    /** What the kernels are compiled for. */
    public record Types(DType storage, DType index, int pack) {
        public String text() {
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
    private final long size;
    /** Of the dimension in which each element has its own index: {n, inner, size}; null if rows have theirs. */
    private final long @Nullable [] each;

    private final long n;
    private final long lanes;
    private final long[] shape;
    private final long chunks;

    private SegmentKernels(
            Kernels kernels,
            String op,
            String name,
            Tensor x,
            Tensor index,
            Tensor source,
            long inner,
            long size,
            long @Nullable [] each) {
        this.kernels = kernels;
        this.op = op;
        this.name = name;
        this.x = x;
        this.index = index;
        this.source = source;
        this.size = size;
        this.each = each;
        this.n = index.numel();
        int pack = LookupKernels.pack(x.dtype().byteSize(), 4, inner, x.address() | source.address());
        this.types = new Types(x.dtype(), index.dtype(), pack);
        this.lanes = source.numel() / n / pack;
        // As long as there are chunks: what goes on over all of them is joined in as many steps as each took.
        long chunk = Math.max(FEW, (long) Math.ceil(Math.sqrt(n) / 4) * 4);
        this.chunks = (n + chunk - 1) / chunk;
        this.shape = new long[] {source.numel() / n / inner, n, inner / pack, size, chunk, chunks};
    }

    /**
     * An index for each row.
     *
     * @param name the op, as faults name it
     * @param x contiguous [outer, size, inner]
     * @param index contiguous [n], not empty
     * @param source contiguous [outer, n, inner], of the dtype of x, not empty
     */
    static SegmentKernels rows(
            Kernels kernels, String op, String name, Tensor x, Tensor index, Tensor source, long inner, long size) {
        return new SegmentKernels(kernels, op, name, x, index, source, inner, size, null);
    }

    /** As {@link #rows}, with an index for each element: the index has the shape [outer, n, inner] of source. */
    static SegmentKernels elements(
            Kernels kernels,
            String op,
            String name,
            Tensor x,
            Tensor index,
            Tensor source,
            long n,
            long inner,
            long size) {
        return new SegmentKernels(kernels, op, name, x, index, source, 1, x.numel(), new long[] {n, inner, size});
    }

    /** Whether sorting pays, and its numbers suffice, where each row has an index. */
    static boolean isFor(long indices, long size) {
        return indices > FEW && indices <= Integer.MAX_VALUE && size > 0 && size < Integer.MAX_VALUE;
    }

    /** The same where each element has, n in each lane of [outer, inner]. */
    static boolean isForElements(long n, long lanes, long targets) {
        return n > FEW && lanes < MANY_LANES && isFor(n * lanes, targets);
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
            keys(sort.keys(), padding);
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

    private void keys(Tensor keys, long padding) {
        if (each == null) {
            call("segment_keys")
                    .pointer(index)
                    .pointer(keys)
                    .word(n)
                    .word(size)
                    .word(padding)
                    .fault(name)
                    .each(n);
        } else {
            call("segment_targets")
                    .pointer(index)
                    .pointer(keys)
                    .word(n)
                    .word(each[0])
                    .word(each[1])
                    .word(each[2])
                    .word(size)
                    .fault(name)
                    .each(n);
        }
    }

    private void sum(Tensor keys, Tensor places) {
        int across = (int) Math.min(THREADS, Long.highestOneBit(2 * lanes - 1));
        int down = THREADS / across;
        long wide = Math.min(65535, (lanes + across - 1) / across);
        DType compute = x.dtype().isFloating() ? x.dtype().computeType() : DType.INT64;
        try (Tensor ends = TENSORS.allocate(Shape.of(2, chunks, lanes, types.pack), compute, x.device())) {
            call("segment_sums")
                    .pointer(keys)
                    .pointer(places)
                    .pointer(source)
                    .pointer(x)
                    .pointer(ends)
                    .struct(shape)
                    .run(new CudaRuntime.Grid((n + down - 1) / down, wide, 1, across, down, 1, 0));
            if (chunks > 1) {
                call("segment_joins")
                        .pointer(keys)
                        .pointer(ends)
                        .pointer(x)
                        .struct(shape)
                        .run(new CudaRuntime.Grid((chunks + down - 1) / down, wide, 1, across, down, 1, 0));
            }
        }
    }
}
