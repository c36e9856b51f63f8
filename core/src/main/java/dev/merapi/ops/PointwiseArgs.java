// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.op.Slotted;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What records of arguments tell a pointwise kernel: up to three named tensors, or a list of them, and scalars. */
public interface PointwiseArgs {
    Tensor[] tensors();

    List<Number> scalars();

    static boolean isWhole(@Nullable List<Number> scalars) {
        if (scalars == null) {
            return false;
        }
        for (int i = 0, n = scalars.size(); i < n; i++) {
            if (scalars.get(i) == null) {
                return false;
            }
        }
        return true;
    }

    record X(Tensor x, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && isWhole(scalars) ? tensors() : null;
        }
    }

    record XY(Tensor x, Tensor y, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && y != null && isWhole(scalars) ? tensors() : null;
        }
    }

    record XYZ(Tensor x, Tensor y, Tensor z, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y, z};
        }

        @Override
        public Tensor @Nullable [] slots() {
            return x != null && y != null && z != null && isWhole(scalars) ? tensors() : null;
        }
    }

    record Many(List<Tensor> inputs, List<Number> scalars) implements PointwiseArgs, Slotted {
        @Override
        public Tensor[] tensors() {
            return inputs.toArray(new Tensor[0]);
        }

        @Override
        public Tensor @Nullable [] slots() {
            return isWhole(scalars) ? Slots.of(inputs) : null;
        }
    }

    /** In place: {@code x} is written, {@code inputs} are read. */
    record Into(Tensor x, List<Tensor> inputs, List<Number> scalars) implements PointwiseArgs {
        @Override
        public Tensor[] tensors() {
            return inputs.toArray(new Tensor[0]);
        }
    }
}
