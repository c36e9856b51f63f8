// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.op.Slotted;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What records of arguments tell a pointwise kernel: up to three named tensors, or a list of them, and scalars. */
public interface PointwiseArgs {
    /** {@return the operands that are read, in order; an array of the caller's own} */
    Tensor[] tensors();

    /** {@return the numbers of this call, in order} */
    List<Number> scalars();

    /**
     * Of an op of one tensor.
     *
     * @param x the operand
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record X(Tensor x, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && Slots.isWhole(scalars) ? tensors() : null;
        }
    }

    /**
     * Of an op of two tensors.
     *
     * @param x the first operand
     * @param y the second, broadcast with it
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record XY(Tensor x, Tensor y, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && y != null && Slots.isWhole(scalars) ? tensors() : null;
        }
    }

    /**
     * Of an op of three tensors.
     *
     * @param x the first operand
     * @param y the second
     * @param z the third; all broadcast together
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record XYZ(Tensor x, Tensor y, Tensor z, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y, z};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && y != null && z != null && Slots.isWhole(scalars) ? tensors() : null;
        }
    }

    /**
     * Of an op of more tensors, or with several results.
     *
     * @param inputs the operands, which broadcast together
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record Many(List<Tensor> inputs, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return inputs.toArray(new Tensor[0]);
        }

        @Override
        public Tensor @Nullable [] slots() {
            return Slots.isWhole(scalars) ? Slots.of(inputs) : null;
        }
    }

    /**
     * Of the form in place.
     *
     * @param x what is written, in its own dtype
     * @param inputs what is read, x itself among them as a rule
     * @param scalars the numbers of this call, as many as the op has scalars
     */
    record Into(Tensor x, List<Tensor> inputs, List<Number> scalars) implements PointwiseArgs {
        @Override
        public Tensor[] tensors() {
            return inputs.toArray(new Tensor[0]);
        }
    }
}
