// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/**
 * How rows are shared out among threads: parts of a warp for short rows, a block for long ones. By sizes and addresses
 * alone.
 *
 * @param lanes threads that a row belongs to
 * @param threads of a block
 */
record RowForm(Types types, int lanes, int threads) {
    /** Threads of a block of several rows. */
    private static final int FEW = 128;
    /** And of one row, at most. */
    private static final int MANY = 512;
    /** Elements of each tensor that a thread keeps, at most; with an address each they are fewer. */
    private static final int KEPT = 32;
    /** From so many neighbouring rows on, of which each thread takes one, memory is read in order; */
    private static final int NEIGHBOURS = 32;
    /** if they are short, or so many that they fill a device. */
    private static final int FILLING = 1 << 14;

    /**
     * What a kernel is compiled for.
     *
     * @param pack neighbours that are loaded at once
     * @param kept packs that a thread keeps; 0 if it reads them again
     */
    record Types(DType dtype, int pack, int kept) {
        String text() {
            return Family.type("T", dtype) + "constexpr int kPack = " + pack + ", kKept = " + kept + ";\n";
        }
    }

    /**
     * For so many rows of {@code size} elements that are {@code inner} apart.
     *
     * @param tensors all that are read or written by packs
     */
    static RowForm of(DType dtype, long rows, long size, long inner, @Nullable Tensor... tensors) {
        int pack = inner == 1 ? pack(dtype, size, tensors) : 1;
        long packs = size / pack;
        int few = pack == 1 ? 8 : 4;
        int most = pack == 1 ? few : (dtype == DType.FLOAT64 ? KEPT / 2 : KEPT) / pack;
        if (inner >= NEIGHBOURS && (rows >= FILLING || size <= KEPT)) {
            return new RowForm(new Types(dtype, 1, packs <= few ? few : 0), 1, FEW);
        }
        int kept = packs <= 32L * few ? few : most;
        long lanes = powerOfTwo((packs + kept - 1) / kept);
        if (lanes > MANY) {
            return new RowForm(new Types(dtype, pack, 0), MANY, MANY);
        }
        return new RowForm(new Types(dtype, pack, kept), (int) lanes, lanes <= 32 ? FEW : (int) lanes);
    }

    /** Elements of 16 bytes, if all rows of all tensors can be read by them; else 1. */
    static int pack(DType dtype, long size, @Nullable Tensor... tensors) {
        int pack = PointwiseVariant.LARGEST_LOAD / dtype.byteSize();
        if (size % pack != 0) {
            return 1;
        }
        for (Tensor t : tensors) {
            if (t != null && t.address() % PointwiseVariant.LARGEST_LOAD != 0) {
                return 1;
            }
        }
        return pack;
    }

    private static long powerOfTwo(long n) {
        return n <= 1 ? 1 : Long.highestOneBit(n - 1) << 1;
    }

    CudaRuntime.Grid grid(long rows) {
        long teams = threads / lanes;
        return CudaRuntime.Grid.of(Math.max(1, Math.min((rows + teams - 1) / teams, Integer.MAX_VALUE)), threads);
    }
}
