// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.print.PointwiseVariant;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/**
 * How rows are shared out among threads: parts of a warp for short rows, a block for long ones. Rows along a dimension that
 * is not the last are columns, of which neighbours are a tile, whose threads read what lies side by side. By sizes and
 * addresses alone.
 *
 * @param lanes threads that a row belongs to
 * @param width of a tile of columns: threads side by side, each with a pack of them; 1 for rows
 * @param threads of a block
 */
public record RowForm(Types types, int lanes, int width, int threads) {
    /** Threads of a block of several rows. */
    private static final int FEW = 128;
    /** And of one row, at most. */
    private static final int MANY = 512;
    /** Of columns that are read again: each pack of them takes registers, and so more than one block has room. */
    private static final int AGAIN = 256;
    /** Elements of each tensor that a thread keeps, at most; with an address each they are fewer. */
    private static final int KEPT = 32;
    /** Bytes that a tile of columns is wide: a line of the cache, */
    private static final int LINE = 128;
    /** or no more than what memory is read by, if columns are long or few. */
    private static final int SECTOR = 32;
    /** Tiles that fill a large device. */
    private static final int FILLING = 256;

    /**
     * What a kernel is compiled for.
     *
     * @param pack neighbours that are loaded at once
     * @param kept packs that a thread keeps; 0 if it reads them again
     * @param columns whether a pack is of neighbouring rows
     */
    public record Types(DType dtype, int pack, int kept, boolean columns) {
        /** Of rows. */
        public Types(DType dtype, int pack, int kept) {
            this(dtype, pack, kept, false);
        }

        public String text() {
            return Family.type("T", dtype) + "constexpr int kPack = " + pack + ", kKept = " + kept
                    + ";\nconstexpr bool kColumns = " + columns + ";\n";
        }

        /** Packs that a thread keeps of a short row. */
        private static int few(int pack) {
            return pack == 1 ? 8 : 4;
        }

        private static int most(DType dtype, int pack) {
            return pack == 1 ? few(pack) : (dtype == DType.FLOAT64 ? KEPT / 2 : KEPT) / pack;
        }
    }

    /**
     * For so many rows of {@code size} elements.
     *
     * @param tensors all that are read or written by packs
     */
    public static RowForm rows(DType dtype, long rows, long size, @Nullable Tensor... tensors) {
        int pack = pack(dtype, size, tensors);
        long packs = size / pack;
        int few = Types.few(pack);
        int kept = packs <= 32L * few ? few : Types.most(dtype, pack);
        long lanes = powerOfTwo((packs + kept - 1) / kept);
        if (lanes > MANY) {
            return new RowForm(new Types(dtype, pack, 0), MANY, 1, MANY);
        }
        return new RowForm(new Types(dtype, pack, kept), (int) lanes, 1, lanes <= 32 ? FEW : (int) lanes);
    }

    /**
     * For [outer, size, inner]. A tile is a line wide; less, down to a sector, if otherwise tiles would not fill a device,
     * or its threads could not keep their elements. If they cannot either way, lines it is.
     *
     * @param tensors all that are read or written by packs
     */
    public static RowForm columns(DType dtype, long outer, long size, long inner, @Nullable Tensor... tensors) {
        int pack = pack(dtype, inner, tensors);
        int bytes = pack * dtype.byteSize();
        long neighbours = powerOfTwo(inner / pack);
        int least = (int) Math.min(neighbours, SECTOR / bytes);
        int width = (int) Math.min(neighbours, Math.min(32, LINE / bytes));
        long most = Types.most(dtype, pack);
        boolean keeps = size <= most * (MANY / least);
        while (width > least && (outer * inner / pack / width < FILLING || keeps && size > most * (MANY / width))) {
            width /= 2;
        }
        if (!keeps) {
            return new RowForm(new Types(dtype, pack, 0, true), AGAIN / width, width, AGAIN);
        }
        int few = Types.few(pack);
        int kept = size <= (long) few * Math.max(1, FEW / width) ? few : (int) most;
        int lanes = (int) powerOfTwo((size + kept - 1) / kept);
        return new RowForm(new Types(dtype, pack, kept, true), lanes, width, Math.max(FEW, lanes * width));
    }

    /** Elements of 16 bytes, if all rows of all tensors can be read by them; else 1. */
    public static int pack(DType dtype, long size, @Nullable Tensor... tensors) {
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

    /** What the kernel counts: rows, or packs of columns. */
    public long count(long rows) {
        return types.columns ? rows / types.pack : rows;
    }

    public CudaRuntime.Grid grid(long rows) {
        long teams = threads / lanes;
        long blocks = (count(rows) + teams - 1) / teams;
        return CudaRuntime.Grid.of(Math.max(1, Math.min(blocks, Integer.MAX_VALUE)), threads);
    }
}
