// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Products of floating-point matrices by our own tiles: tensor cores for 16-bit types, and for float32 where tf32 is
 * allowed; exact fused multiply-adds else. How the work is cut depends on sizes only, and no sum on the order in which
 * blocks run.
 */
public final class Gemm {
    /** What products in tiles stand on. */
    static final List<String> TILES = List.of("mma.cuh", "tiles.cuh");

    public static final Family FAMILY = Family.above(TILES, "gemm.cuh", "gemm_tiles", "gemm_join");
    private static final int FEWEST_TILES = 64;
    private static final int ENOUGH_BLOCKS = 128;
    private static final int LEAST_DEPTH = 512;
    private static final long MOST_PARTS_BYTES = 64L << 20;

    /** The part of a result that a block computes. */
    public enum Tile {
        LARGE(128, 128),
        SMALL(64, 64),
        /** For results of few rows. */
        FLAT(32, 128);

        private final int rows;
        private final int columns;

        Tile(int rows, int columns) {
            this.rows = rows;
            this.columns = columns;
        }

        /** Large tiles where they fill the device, or do when k is split; else small ones. */
        public static Tile of(long m, long n, long k, long count) {
            long tiles = LARGE.count(m, n) * count;
            return m > 64 && n > 64 && tiles * Math.max(1, k / (2 * LEAST_DEPTH)) >= FEWEST_TILES ? LARGE : SMALL;
        }

        /** Elements that are computed for a result, some of which may lie outside of it. */
        long covered(long m, long n) {
            return count(m, n) * rows * columns;
        }

        /** How many cover a result. */
        long count(long m, long n) {
            return (m + rows - 1) / rows * ((n + columns - 1) / columns);
        }

        /** Into how many parts k is cut. */
        public long splits(long m, long n, long k, long count) {
            long blocks = this == LARGE ? ENOUGH_BLOCKS : 2 * ENOUGH_BLOCKS;
            long wanted = Math.min(blocks / (count(m, n) * count), k / LEAST_DEPTH);
            long room = MOST_PARTS_BYTES / (m * n * count * Float.BYTES);
            return Math.max(1, Math.min(wanted, room));
        }

        /** Threads that compute it; fewer have more registers each. */
        int threads(boolean few) {
            return few || this != LARGE ? 128 : 256;
        }

        String defines(boolean mma, boolean few) {
            return "\n#define MMA " + (mma ? 1 : 0) + "\n#define ROWS " + rows + "\n#define COLUMNS " + columns
                    + "\n#define THREADS " + threads(few) + "\n";
        }
    }

    /** How a kernel is compiled. */
    public record Variant(DType dtype, boolean aAlongK, boolean bAlongK, boolean aligned, boolean mma, Tile tile) {
        public String types() {
            return Family.type("T", dtype) + "#define A_ALONG_K " + aAlongK + "\n#define B_ALONG_K " + bAlongK
                    + "\n#define ALIGNED " + aligned + tile.defines(mma, mma);
        }
    }

    private Gemm() {}

    /** Whether there are tiles for such a product on such a device; its operands may have to be copied for them. */
    public static boolean serves(MatrixProduct p, CudaRuntime.Properties device) {
        return device.mma() && p.dtype().isFloating() && p.dtype() != DType.FLOAT64;
    }

    /** Elements along k that a block multiplies between two barriers. */
    static int slice(DType dtype) {
        return 64 / dtype.byteSize();
    }

    public static void run(Kernels kernels, MatrixProduct p, boolean tf32) {
        MatrixProduct.Operand a = p.a();
        MatrixProduct.Operand b = p.b();
        Tile tile = Tile.of(p.m(), p.n(), p.k(), p.count());
        boolean mma = p.dtype() != DType.FLOAT32 || tf32;
        Variant variant = new Variant(p.dtype(), a.isAlongK(), b.isAlongK(), p.isAligned(16), mma, tile);
        long slice = slice(p.dtype());
        long splits = tile.splits(p.m(), p.n(), p.k(), p.count());
        long deep = Math.max(1, ((p.k() + slice - 1) / slice + splits - 1) / splits) * slice;
        splits = Math.max(1, (p.k() + deep - 1) / deep);
        CudaRuntime.Grid grid = new CudaRuntime.Grid(
                tile.count(p.m(), p.n()), splits, Math.min(p.count(), 65535), tile.threads(mma), 1, 1, 0);
        if (splits == 1) {
            tiles(kernels, p, variant, null, deep).run(grid);
            return;
        }
        Shape shape = Shape.of(p.count(), splits, p.m(), p.n());
        try (Tensor parts = TENSORS.allocate(shape, DType.FLOAT32, p.out().device())) {
            tiles(kernels, p, variant, parts, deep).run(grid);
            FAMILY.call(kernels, p.op(), p.out(), "gemm_join", variant, Variant::types)
                    .pointer(parts)
                    .pointer(p.bias())
                    .pointer(p.out())
                    .word(p.count())
                    .word(splits)
                    .word(p.m() * p.n())
                    .word(p.n())
                    .each(p.out().numel());
        }
    }

    private static Family.Call tiles(
            Kernels kernels, MatrixProduct p, Variant variant, @Nullable Tensor parts, long deep) {
        return FAMILY.call(kernels, p.op(), p.out(), "gemm_tiles", variant, Variant::types)
                .pointer(p.a().tensor())
                .pointer(p.b().tensor())
                .pointer(p.bias())
                .pointer(p.out())
                .pointer(parts)
                .word(p.m())
                .word(p.n())
                .word(p.k())
                .word(p.a().leading())
                .word(p.b().leading())
                .word(deep)
                .word(p.count())
                .struct(p.batchWords());
    }
}
