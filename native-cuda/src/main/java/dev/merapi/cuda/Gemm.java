// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/**
 * Products of floating-point matrices by our own tiles: tensor cores for 16-bit types, and for float32 where tf32 is
 * allowed; exact fused multiply-adds else. How the work is cut depends on sizes only, and no sum on the order in which
 * blocks run.
 */
final class Gemm {
    static final Family FAMILY = Family.above("mma.cuh", "gemm.cuh", "gemm_tiles", "gemm_join");
    private static final int FEWEST_TILES = 64;
    private static final int ENOUGH_BLOCKS = 128;
    private static final int LEAST_DEPTH = 512;
    private static final long MOST_PARTS_BYTES = 64L << 20;

    /** How a kernel is compiled. */
    record Variant(DType dtype, boolean aAlongK, boolean bAlongK, boolean aligned, boolean mma, int extent) {
        String types() {
            return Family.type("T", dtype) + "#define A_ALONG_K " + aAlongK + "\n#define B_ALONG_K " + bAlongK
                    + "\n#define ALIGNED " + aligned + "\n#define MMA " + (mma ? 1 : 0) + "\n#define EXTENT " + extent
                    + "\n";
        }

        int threads() {
            return mma || extent == 64 ? 128 : 256;
        }

        /** Elements along k that a block multiplies between two barriers. */
        int slice() {
            return 64 / (int) dtype.byteSize();
        }
    }

    private Gemm() {}

    /** Whether there are tiles for such a product on such a device; its operands may have to be copied for them. */
    static boolean serves(MatrixProduct p, CudaRuntime.Properties device) {
        return device.architecture() >= 80 && p.dtype().isFloating() && p.dtype() != DType.FLOAT64;
    }

    /** Tiles of 128 where they fill the device, or do when k is split; else of 64. */
    static int extent(long m, long n, long k, long count) {
        long tiles = (m + 127) / 128 * ((n + 127) / 128) * count;
        return m > 64 && n > 64 && tiles * Math.max(1, k / (2 * LEAST_DEPTH)) >= FEWEST_TILES ? 128 : 64;
    }

    /** Into how many parts k is cut. */
    static long splits(long m, long n, long k, long count, int extent) {
        long tiles = (m + extent - 1) / extent * ((n + extent - 1) / extent) * count;
        long wanted = Math.min(ENOUGH_BLOCKS * (128 / extent) / tiles, k / LEAST_DEPTH);
        long room = MOST_PARTS_BYTES / (m * n * count * Float.BYTES);
        return Math.max(1, Math.min(wanted, room));
    }

    static void run(Kernels kernels, MatrixProduct p, boolean tf32) {
        MatrixProduct.Operand a = p.a();
        MatrixProduct.Operand b = p.b();
        int extent = extent(p.m(), p.n(), p.k(), p.count());
        boolean mma = p.dtype() != DType.FLOAT32 || tf32;
        Variant variant = new Variant(p.dtype(), a.isAlongK(), b.isAlongK(), p.isAligned(16), mma, extent);
        long slices = (p.k() + variant.slice() - 1) / variant.slice();
        long splits = splits(p.m(), p.n(), p.k(), p.count(), extent);
        long deep = Math.max(1, (slices + splits - 1) / splits) * variant.slice();
        splits = Math.max(1, (p.k() + deep - 1) / deep);
        long tiles = (p.m() + extent - 1) / extent * ((p.n() + extent - 1) / extent);
        CudaRuntime.Grid grid =
                new CudaRuntime.Grid(tiles, (int) splits, Math.min(p.count(), 65535), variant.threads(), 1, 1, 0);
        if (splits == 1) {
            tiles(kernels, p, variant, null, deep).run(grid);
            return;
        }
        Shape shape = Shape.of(p.count(), splits, p.m(), p.n());
        try (Tensor parts = Tensor.allocate(shape, DType.FLOAT32, p.out().device())) {
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
