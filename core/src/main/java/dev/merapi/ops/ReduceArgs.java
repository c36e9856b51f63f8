// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.op.Slotted;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The argument records of reductions: one or two named tensors, or a list of them, which broadcast together; the
 * dimensions of that common shape to reduce (none named: all), and whether they stay, with size 1.
 */
public sealed interface ReduceArgs extends Slotted {
    /** {@return the operands, in order; an array of the caller's own} */
    Tensor[] tensors();

    /** {@return the dimensions to reduce, of the common shape; none for all} */
    int[] dims();

    /** {@return whether the reduced dimensions stay, with size 1} */
    boolean keepDim();

    /** {@return the dtype of the result; null for the usual one} */
    @Nullable
    DType dtype();

    /** {@return the run-time scalars of the expression in front} */
    List<Number> scalars();

    /** {@return what {@link Combine#VAR} subtracts from the number of elements; 0 for other reductions} */
    default double correction() {
        return 0;
    }

    private static boolean isWhole(int @Nullable [] dims, @Nullable List<Number> scalars) {
        return dims != null && Slots.isWhole(scalars);
    }

    /**
     * Of a reduction of one tensor.
     *
     * @param x the operand
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record X(
            Tensor x, int[] dims, boolean keepDim, @Nullable DType dtype, List<Number> scalars) implements ReduceArgs {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && ReduceArgs.isWhole(dims, scalars) ? tensors() : null;
        }
    }

    /**
     * Of a reduction of two tensors.
     *
     * @param x the first operand
     * @param y the second, broadcast with it
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record XY(
            Tensor x,
            Tensor y,
            int[] dims,
            boolean keepDim,
            @Nullable DType dtype,
            List<Number> scalars) implements ReduceArgs {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && y != null && ReduceArgs.isWhole(dims, scalars) ? tensors() : null;
        }
    }

    /**
     * Of a reduction of more tensors.
     *
     * @param inputs the operands, which broadcast together
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record Many(
            List<Tensor> inputs,
            int[] dims,
            boolean keepDim,
            @Nullable DType dtype,
            List<Number> scalars) implements ReduceArgs {
        @Override
        public Tensor[] tensors() {
            return inputs.toArray(new Tensor[0]);
        }

        @Override
        public Tensor @Nullable [] slots() {
            return ReduceArgs.isWhole(dims, scalars) ? Slots.of(inputs) : null;
        }
    }

    /**
     * Of a variance or a standard deviation.
     *
     * @param x the operand, floating
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param correction subtracted from the number of elements, not negative; 1 for the unbiased variance
     */
    record Var(Tensor x, int[] dims, boolean keepDim, double correction) implements ReduceArgs {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && dims != null ? tensors() : null;
        }

        @Override
        public @Nullable DType dtype() {
            return null;
        }

        @Override
        public List<Number> scalars() {
            return List.of();
        }
    }

    // ---------------------------------------------------------------- shapes

    /**
     * The common shape of the operands: what is reduced.
     *
     * @param op named in errors
     * @return the shape that the operands broadcast to: what is reduced
     * @throws dev.merapi.error.ShapeException if they do not broadcast
     */
    default Shape common(String op) {
        Tensor[] t = tensors();
        Shape shape = t[0].shape();
        for (int i = 1; i < t.length; i++) {
            shape = Shape.broadcast(op, shape, t[i].shape());
        }
        return shape;
    }

    /**
     * Which dimensions of {@code shape} are reduced.
     *
     * @param op named in errors
     * @param shape what is reduced
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @return whether each dimension is reduced
     * @throws dev.merapi.error.ShapeException if a dimension is not there, or twice
     */
    static boolean[] mask(String op, Shape shape, int[] dims) {
        boolean[] mask = new boolean[shape.rank()];
        if (dims.length == 0) {
            Arrays.fill(mask, true);
        }
        for (int d : dims) {
            int k = shape.normalize(op, d);
            if (shape.rank() > 0) {
                if (mask[k]) {
                    throw new dev.merapi.error.ShapeException(op + ": dimension " + d + " appears twice in "
                            + Arrays.toString(dims) + " for shape " + shape);
                }
                mask[k] = true;
            }
        }
        return mask;
    }

    /**
     * The shape that is left.
     *
     * @param shape what is reduced
     * @param mask whether each dimension is
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @return the shape of the result
     */
    static Shape reduced(Shape shape, boolean[] mask, boolean keepDim) {
        long[] sizes = new long[mask.length];
        int n = 0;
        for (int d = 0; d < mask.length; d++) {
            if (!mask[d]) {
                sizes[n++] = shape.size(d);
            } else if (keepDim) {
                sizes[n++] = 1;
            }
        }
        return Shape.of(n == sizes.length ? sizes : Arrays.copyOf(sizes, n));
    }

    /**
     * How many elements make one of the result.
     *
     * @param shape what is reduced
     * @param mask whether each dimension is
     * @return how many elements make one of the result
     */
    static long count(Shape shape, boolean[] mask) {
        long n = 1;
        for (int d = 0; d < mask.length; d++) {
            n *= mask[d] ? shape.size(d) : 1;
        }
        return n;
    }
}
