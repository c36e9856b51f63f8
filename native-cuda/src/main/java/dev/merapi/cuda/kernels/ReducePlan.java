// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.runtime.CudaRuntime;

/**
 * How a stage of a reduction is cut into blocks: tiles of 2ᵗˣ groups of results by 2ᵗʸ parts of the turns that make one. By
 * sizes alone, so that a result does not depend on the device.
 *
 * @param chunk turns that a tile takes
 */
public record ReducePlan(int tx, int ty, long chunk, long chunks, long tiles) {
    static final int THREADS = 256;
    /** Turns that a thread takes by itself at most: what it rounds one after the other. */
    private static final int SERIAL = 32;
    /** That it takes at least, if there are as many: more than one load is on its way. */
    private static final int FEW = 4;
    /** Threads that fill a large device. */
    private static final int MANY = 18;

    /**
     * @param groups results, or packs of them
     * @param turns packs of elements, or elements, that make one
     * @param rows whether neighbours in memory belong to one result
     */
    public static ReducePlan of(long groups, long turns, boolean rows) {
        long each = Long.highestOneBit(Math.max(FEW, Math.min(SERIAL, groups * turns >> MANY)));
        return of(groups, turns, rows, each);
    }

    /** For what chunks have left: little, so that few launches count for more than many threads. */
    public static ReducePlan again(long results, long parts) {
        return of(results, parts, results == 1, SERIAL);
    }

    private static ReducePlan of(long groups, long turns, boolean rows, long each) {
        int all = log2(THREADS);
        int most = log2(divide(turns, FEW));
        int ty;
        if (rows) {
            // A warp reads from one row, if that is long enough.
            ty = Math.min(all, Math.max(log2(divide(turns, each)), Math.min(5, most)));
        } else {
            ty = Math.min(all - Math.min(5, log2(groups)), most);
        }
        int tx = all - ty;
        long chunk = each << ty;
        return new ReducePlan(tx, ty, chunk, Math.max(1, divide(turns, chunk)), divide(groups, 1L << tx));
    }

    private static long divide(long n, long by) {
        return (n + by - 1) / by;
    }

    /** Rounded up. */
    private static int log2(long n) {
        return n <= 1 ? 0 : 64 - Long.numberOfLeadingZeros(n - 1);
    }

    public CudaRuntime.Grid grid() {
        return CudaRuntime.Grid.of(tiles * chunks, THREADS);
    }
}
