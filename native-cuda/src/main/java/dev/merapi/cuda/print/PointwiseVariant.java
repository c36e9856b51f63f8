// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.ops.code.Collapsed;
import dev.merapi.tensor.Tensor;

/**
 * How a pointwise kernel walks over memory; one kernel is compiled for each that occurs. Operands are the outputs, then
 * the inputs; masks have a bit for each.
 *
 * @param rank dimensions to take an index apart into; 0 if every operand is linear or uniform
 * @param vector elements that a thread handles at once
 * @param wide whether indices need 64 bits
 * @param linear operands that lie in the order of the space
 * @param uniform operands of one element; with {@code rank > 0}: that do not step in the last dimension
 */
public record PointwiseVariant(int rank, int vector, boolean wide, long linear, long uniform) {
    public static final int LARGEST_LOAD = 16;
    private static final int LARGEST_VECTOR = 8;
    /** Room for the index to step over the end by a whole grid. */
    private static final long NARROW = Integer.MAX_VALUE - (1 << 24);

    public static PointwiseVariant of(Collapsed space, long numel, Tensor[] operands) {
        long linear = 0;
        long uniform = 0;
        long reach = numel;
        for (int k = 0; k < operands.length; k++) {
            if (space.isLinear(k)) {
                linear |= 1L << k;
            } else if (space.isUniform(k)) {
                uniform |= 1L << k;
            }
            reach = Math.max(reach, space.reach(k));
        }
        boolean wide = isWide(reach);
        if (operands.length >= Long.SIZE) {
            return new PointwiseVariant(space.rank(), 1, wide, 0, 0); // more than a mask has bits: each by its strides
        }
        int vector = width(operands);
        if ((linear | uniform) == (1L << operands.length) - 1) {
            return new PointwiseVariant(0, aligned(operands, uniform, vector) ? vector : 1, wide, linear, uniform);
        }
        uniform = 0;
        for (int k = 0; k < operands.length; k++) {
            if (space.stride(k, space.rank() - 1) == 0) {
                uniform |= 1L << k;
            }
        }
        boolean vectorized = vectorizes(space, operands, vector, uniform);
        return new PointwiseVariant(space.rank(), vectorized ? vector : 1, wide, linear, vectorized ? uniform : 0);
    }

    /** Whether distances up to this need 64 bits. */
    public static boolean isWide(long reach) {
        return reach > NARROW || Boolean.getBoolean("merapi.cuda.wideIndices");
    }

    /** Elements that fill a 16-byte load of the smallest dtype, but no more than 8. */
    public static int width(Tensor[] operands) {
        int smallest = LARGEST_LOAD;
        for (Tensor t : operands) {
            smallest = Math.min(smallest, t.dtype().byteSize());
        }
        return Math.min(LARGEST_VECTOR, LARGEST_LOAD / smallest);
    }

    private static boolean aligned(Tensor[] operands, long uniform, int vector) {
        for (int k = 0; k < operands.length; k++) {
            if ((uniform >> k & 1) == 0 && operands[k].address() % load(operands[k], vector) != 0) {
                return false;
            }
        }
        return true;
    }

    private static int load(Tensor t, int vector) {
        return Math.min(LARGEST_LOAD, t.dtype().byteSize() * vector);
    }

    /** Whether every thread may take neighbours of the last dimension: all operands step there by 1 or not at all. */
    private static boolean vectorizes(Collapsed space, Tensor[] operands, int vector, long uniform) {
        int last = space.rank() - 1;
        if (space.size(last) % vector != 0 || !aligned(operands, uniform, vector)) {
            return false;
        }
        for (int k = 0; k < operands.length; k++) {
            if ((uniform >> k & 1) != 0) {
                continue;
            }
            if (space.stride(k, last) != 1) {
                return false;
            }
            for (int d = 0; d < last; d++) {
                if (space.stride(k, d) * operands[k].dtype().byteSize() % load(operands[k], vector) != 0) {
                    return false;
                }
            }
        }
        return true;
    }

    boolean isLinear(int operand) {
        return (linear >> operand & 1) != 0;
    }

    boolean isUniform(int operand) {
        return (uniform >> operand & 1) != 0;
    }
}
