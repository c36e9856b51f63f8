// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops.code;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/**
 * An iteration space with as few dimensions as the operands allow: sizes of 1 are dropped, and neighbours merged where
 * every operand steps evenly over both. Strides are in elements, 0 where an operand is broadcast.
 */
public final class Collapsed {
    private final int rank;
    private final long[] sizes;
    private final long[][] strides; // per operand, per dimension

    private Collapsed(int rank, long[] sizes, long[][] strides) {
        this.rank = rank;
        this.sizes = sizes;
        this.strides = strides;
    }

    /** The space of {@code shape}, which all operands broadcast to. */
    public static Collapsed of(Shape shape, Tensor[] operands) {
        return of(shape, operands, null, true);
    }

    /** The space of those dimensions only for which {@code mask} says {@code wanted}; all without a mask. */
    public static Collapsed of(Shape shape, Tensor[] operands, boolean @Nullable [] mask, boolean wanted) {
        int full = shape.rank();
        long[] sizes = new long[full];
        long[][] strides = new long[operands.length][];
        for (int k = 0; k < strides.length; k++) {
            strides[k] = new long[full]; // one by one: compiled code has no fast path for both dimensions at once
        }
        int rank = 0;
        for (int d = 0; d < full; d++) {
            long size = shape.size(d);
            if (size == 1 || mask != null && mask[d] != wanted) {
                continue;
            }
            boolean merges = rank > 0;
            for (int k = 0; k < operands.length; k++) {
                long stride = stride(operands[k], d, full);
                strides[k][rank] = stride;
                merges = merges && strides[k][rank - 1] == stride * size;
            }
            if (merges) {
                sizes[rank - 1] *= size;
                for (long[] s : strides) {
                    s[rank - 1] = s[rank];
                }
            } else {
                sizes[rank++] = size;
            }
        }
        return new Collapsed(rank, sizes, strides);
    }

    /** Number of dimensions that are left. */
    public int rank() {
        return rank;
    }

    public long size(int dim) {
        return sizes[dim];
    }

    /** Elements between neighbours along a dimension. */
    public long stride(int operand, int dim) {
        return strides[operand][dim];
    }

    /** Number of points. */
    public long count() {
        long n = 1;
        for (int d = 0; d < rank; d++) {
            n *= sizes[d];
        }
        return n;
    }

    private static long stride(Tensor t, int dim, int full) {
        Layout layout = t.layout();
        int d = dim - (full - layout.rank());
        return d < 0 || layout.size(d) == 1 ? 0 : layout.stride(d);
    }

    /** One past the largest element distance that an operand reaches. */
    public long reach(int operand) {
        long last = 0;
        for (int d = 0; d < rank; d++) {
            last += (sizes[d] - 1) * strides[operand][d];
        }
        return last + 1;
    }

    /** Whether an operand's elements stand in the order of the space, without gaps. */
    public boolean isLinear(int operand) {
        long expected = 1;
        for (int d = rank - 1; d >= 0; d--) {
            if (strides[operand][d] != expected) {
                return false;
            }
            expected *= sizes[d];
        }
        return true;
    }

    /** Whether an operand has one element only. */
    public boolean isUniform(int operand) {
        for (int d = 0; d < rank; d++) {
            if (strides[operand][d] != 0) {
                return false;
            }
        }
        return true;
    }
}
