// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Running sums, and where what is not 0 stands; see {@code scan.cuh}. */
public final class ScanKernels {
    public static final Family FAMILY =
            new Family("scan.cuh", "scan_totals", "scan_sums", "scan_columns", "nonzero_counts", "nonzero_places");

    private static final int THREADS = 256;
    private static final int EACH = 4;
    private static final int MAX_RANK = 64;
    /** So many elements of a lane are worth a block of their own. */
    private static final long CHUNK = 8 * THREADS * EACH;
    /** So many blocks occupy every card. */
    private static final long BLOCKS = 2048;
    /** So many lanes, a thread each, do as well. */
    private static final long COLUMNS = 8192;

    /**
     * What the kernels are compiled for.
     *
     * @param packed whether neighbours of a lane can be loaded at once
     * @param wide whether elements are counted in 64 bits
     */
    public record Types(DType storage, DType result, boolean packed, boolean wide) {
        public String text() {
            return Family.type("T", storage)
                    + Family.type("Y", result)
                    + Family.type("V", sums())
                    + "typedef " + (wide ? "long long" : "unsigned int") + " N;\n"
                    + "constexpr int kEach = " + EACH + ";\n"
                    + "constexpr bool kPacked = " + packed + ";\n";
        }

        DType sums() {
            return result.isFloating() ? result.computeType() : DType.INT64;
        }
    }

    /** Lanes of [outer, n, inner], each in chunks. */
    private record Lanes(long lanes, long n, long inner, long chunk) {
        long chunks() {
            return (n + chunk - 1) / chunk;
        }

        long[] words() {
            return new long[] {lanes, n, inner, chunk, chunks()};
        }

        /** In as many chunks as occupy the card. */
        static Lanes of(long lanes, long n, long inner) {
            long perLane = Math.max(1, BLOCKS / lanes);
            long tile = THREADS * EACH;
            long chunk = Math.max(CHUNK, (n + perLane - 1) / perLane);
            return new Lanes(lanes, n, inner, (chunk + tile - 1) / tile * tile);
        }

        /** A team for each chunk: a warp for short ones, else a block. */
        CudaRuntime.Grid grid() {
            int across = Math.min(n, chunk) <= 2 * 32 * EACH ? 32 : THREADS;
            int teams = THREADS / across;
            long blocks = Math.min(Integer.MAX_VALUE, (lanes * chunks() + teams - 1) / teams);
            return new CudaRuntime.Grid(blocks, 1, 1, across, teams, 1, 0);
        }
    }

    private final Kernels kernels;
    private final String op;

    private ScanKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, ScanKernels> of = op -> new ScanKernels(op, kernels);
        table.make("cumsum", Reductions.CumSum.class, ALL, of, ScanKernels::cumsum);
        table.makeReturning("nonzero", Indexing.NonZero.class, Tensor.class, ALL, of, ScanKernels::nonzero);
    }

    private Family.Call call(Tensor at, String entry, Types types) {
        return FAMILY.call(kernels, op, at, entry, types, Types::text);
    }

    private void cumsum(Reductions.CumSum a, Tensor out) {
        Tensor x = a.x();
        if (x.numel() == 0) {
            return;
        }
        long n = x.rank() == 0 ? 1 : x.size(a.dim());
        long inner = 1;
        for (int d = x.rank() == 0 ? 0 : x.shape().normalize(a.dim()) + 1; d < x.rank(); d++) {
            inner *= x.size(d);
        }
        sums(x, out, Lanes.of(x.numel() / n, n, inner));
    }

    /** Running sums of x in y, which may be the same. */
    private void sums(Tensor x, Tensor y, Lanes lanes) {
        boolean packed = lanes.inner == 1
                && lanes.n % EACH == 0
                && x.address() % ((long) EACH * x.dtype().byteSize()) == 0
                && y.address() % ((long) EACH * y.dtype().byteSize()) == 0;
        Types types = new Types(x.dtype(), y.dtype(), packed, false);
        if (lanes.inner >= 32 && lanes.lanes >= COLUMNS) {
            call(x, "scan_columns", types)
                    .pointer(x)
                    .pointer(y)
                    .struct(new Lanes(lanes.lanes, lanes.n, lanes.inner, lanes.n).words())
                    .each(lanes.lanes);
            return;
        }
        if (lanes.chunks() == 1) {
            launch(x, null, y, lanes, types);
            return;
        }
        try (Tensor totals = TENSORS.allocate(Shape.of(lanes.lanes, lanes.chunks()), types.sums(), x.device())) {
            call(x, "scan_totals", types)
                    .pointer(x)
                    .pointer(totals)
                    .struct(lanes.words())
                    .run(lanes.grid());
            sums(totals, totals, new Lanes(lanes.lanes, lanes.chunks(), 1, lanes.chunks()));
            launch(x, totals, y, lanes, types);
        }
    }

    private void launch(Tensor x, @Nullable Tensor totals, Tensor y, Lanes lanes, Types types) {
        call(x, "scan_sums", types)
                .pointer(x)
                .pointer(totals)
                .pointer(y)
                .struct(lanes.words())
                .run(lanes.grid());
    }

    private Tensor nonzero(Indexing.NonZero a) {
        Tensor x = a.x();
        if (x.numel() == 0) {
            return TENSORS.allocate(Shape.of(0, x.rank()), DType.INT64, x.device());
        }
        Types types = new Types(x.dtype(), DType.INT64, false, x.numel() > Integer.MAX_VALUE);
        Lanes lanes = Lanes.of(1, x.numel(), 1);
        try (Tensor counts = TENSORS.allocate(Shape.of(lanes.chunks()), DType.INT64, x.device())) {
            call(x, "nonzero_counts", types)
                    .pointer(x)
                    .pointer(counts)
                    .struct(lanes.words())
                    .run(lanes.grid());
            sums(counts, counts, new Lanes(1, lanes.chunks(), 1, lanes.chunks()));
            long count;
            try (Tensor last = counts.select(0, lanes.chunks() - 1)) {
                count = last.itemLong();
            }
            Tensor out = TENSORS.allocate(Shape.of(count, x.rank()), DType.INT64, x.device());
            if (out.numel() > 0) {
                call(x, "nonzero_places", types)
                        .pointer(x)
                        .pointer(counts)
                        .pointer(out)
                        .struct(lanes.words())
                        .struct(sizes(x.shape(), types.wide))
                        .run(lanes.grid());
            }
            return out;
        }
    }

    private long[] sizes(Shape shape, boolean wide) {
        if (shape.rank() > MAX_RANK) {
            throw new ShapeException(
                    op + ": " + shape + " has more than " + MAX_RANK + " dimensions" + "\n  fix: reshape it.");
        }
        long[] words = new long[1 + 2 * MAX_RANK];
        words[0] = shape.rank();
        for (int d = 0; d < shape.rank(); d++) {
            words[1 + 2 * d] = shape.size(d);
            words[2 + 2 * d] = wide ? 0 : PointwiseKernel.magic(shape.size(d));
        }
        return words;
    }
}
