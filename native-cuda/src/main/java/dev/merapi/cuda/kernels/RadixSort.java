// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;

/**
 * A stable sort of rows of unsigned keys, each with its place in its row, by all of the device; see {@code sorting.cuh}.
 * The caller writes {@link #keys} first, and reads them and {@link #places} after {@link #run}.
 */
public final class RadixSort implements AutoCloseable {
    public static final Family FAMILY =
            Family.above("radix.cuh", "sorting.cuh", "sort_counts", "sort_offsets", "sort_move");

    /** How many keys a block holds: rows of as many need no help from others. */
    static final int TILE = 4096;

    private static final int THREADS = 256;
    private static final int BITS = 8;
    private static final int DIGITS = 1 << BITS;
    private static final int ACROSS = 32;
    /** Of a multiprocessor. */
    private static final int BLOCKS = 16;

    private final Kernels kernels;
    private final String op;
    private final long rows;
    private final long n;
    private final Tensor[] keys = new Tensor[2];
    private final Tensor[] places = new Tensor[2];
    private int now;

    /**
     * @param n the keys of a row; at most 2³¹ − 1
     * @param key INT32 or INT64, whose bits are the keys
     */
    RadixSort(Kernels kernels, String op, Device device, long rows, long n, DType key) {
        this.kernels = kernels;
        this.op = op;
        this.rows = rows;
        this.n = n;
        for (int i = 0; i < 2; i++) {
            keys[i] = TENSORS.allocate(Shape.of(rows, n), key, device);
            places[i] = TENSORS.allocate(Shape.of(rows, n), DType.INT32, device);
        }
    }

    /** What the kernels are compiled for. */
    public static String types(DType key) {
        return "typedef unsigned " + (key == DType.INT64 ? "long long" : "int") + " Key;\n";
    }

    /** [rows, n]. */
    Tensor keys() {
        return keys[now];
    }

    /** INT32 [rows, n]: where in its row each key stood. */
    Tensor places() {
        return places[now];
    }

    private Family.Call call(String entry) {
        return FAMILY.call(kernels, op, keys[0], entry, keys[0].dtype(), RadixSort::types);
    }

    /** Sorts by the lowest bits of the keys, at least one of them. */
    void run(int bits) {
        long tiles = (n + TILE - 1) / TILE;
        // Rows stand in the grid's second dimension, which is narrow: enough of them to fill the device, each again and
        // again.
        long enough = BLOCKS
                * (long) kernels.runtime().properties(keys[0].device().index()).multiprocessors();
        long down = Math.max(1, Math.min(rows, enough / tiles));
        CudaRuntime.Grid blocks = new CudaRuntime.Grid(tiles, down, 1, THREADS, 1, 1, 0);
        int pieces = (int) Math.min(ACROSS, Long.highestOneBit(tiles));
        CudaRuntime.Grid columns = new CudaRuntime.Grid(DIGITS / ACROSS, down, 1, ACROSS, pieces, 1, 0);
        try (Tensor table = TENSORS.allocate(Shape.of(rows, tiles + 1, DIGITS), DType.INT32, keys[0].device())) {
            for (int shift = 0; shift < bits; shift += BITS, now = 1 - now) {
                call("sort_counts")
                        .pointer(keys[now])
                        .pointer(table)
                        .word(rows)
                        .word(n)
                        .half(shift)
                        .run(blocks);
                call("sort_offsets").pointer(table).word(rows).word(tiles).run(columns);
                call("sort_move")
                        .pointer(keys[now])
                        .pointer(shift == 0 ? null : places[now])
                        .pointer(table)
                        .pointer(keys[1 - now])
                        .pointer(places[1 - now])
                        .word(rows)
                        .word(n)
                        .half(shift)
                        .run(blocks);
            }
        }
    }

    @Override
    public void close() {
        for (int i = 0; i < 2; i++) {
            keys[i].close();
            places[i].close();
        }
    }
}
