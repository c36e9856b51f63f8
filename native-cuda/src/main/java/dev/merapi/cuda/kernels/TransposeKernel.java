// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.ops.code.Collapsed;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Copies between layouts whose unit strides lie in different dimensions, by tiles. Pointwise kernels would step over memory
 * on one side, a line of the cache for each element.
 *
 * @param x the dimension along which x steps by one
 * @param y the same of y
 */
public record TransposeKernel(Collapsed space, int x, int y) {
    public static final Family FAMILY = new Family("transpose.cuh", "copy_transposed");
    private static final int MAX_OTHERS = 6;
    /** In narrower ones, what is stepped over is in the cache when its turn comes, and tiles would be nearly empty. */
    private static final int NARROWEST = 8;

    /**
     * @param space of y and x, in this order
     * @return null if pointwise kernels do as well
     */
    public static @Nullable TransposeKernel of(Collapsed space, Tensor y, Tensor x) {
        if (y.dtype() != x.dtype() || space.rank() < 2 || space.rank() > MAX_OTHERS + 2) {
            return null;
        }
        int to = unit(space, 0);
        int from = unit(space, 1);
        if (to < 0 || from < 0 || to == from || space.stride(0, from) == 0 || space.stride(1, to) == 0) {
            return null;
        }
        return space.size(to) < NARROWEST || space.size(from) < NARROWEST ? null : new TransposeKernel(space, from, to);
    }

    private static int unit(Collapsed space, int operand) {
        for (int d = space.rank() - 1; d >= 0; d--) {
            if (space.stride(operand, d) == 1) {
                return d;
            }
        }
        return -1;
    }

    public static String types(int bytes) {
        return Family.bits("T", bytes);
    }

    void run(Kernels kernels, String op, Tensor from, Tensor to) {
        int bytes = to.dtype().byteSize();
        long tile = bytes <= 2 ? 64 : 32;
        long tiles = (space.size(x) + tile - 1) / tile * ((space.size(y) + tile - 1) / tile);
        long[] words = new long[5 + 3 * MAX_OTHERS];
        int at = 5;
        for (int d = 0; d < space.rank(); d++) {
            if (d != x && d != y) {
                tiles *= space.size(d);
                words[at++] = space.size(d);
                words[at++] = space.stride(1, d);
                words[at++] = space.stride(0, d);
            }
        }
        long[] first = {space.size(x), space.size(y), space.stride(1, y), space.stride(0, x), space.rank() - 2};
        System.arraycopy(first, 0, words, 0, first.length);
        FAMILY.call(kernels, op, to, "copy_transposed", bytes, TransposeKernel::types)
                .pointer(from)
                .pointer(to)
                .word(tiles)
                .struct(words)
                .run(new CudaRuntime.Grid(Math.min(tiles, Integer.MAX_VALUE), 1, 1, 32, 8, 1, 0));
    }
}
