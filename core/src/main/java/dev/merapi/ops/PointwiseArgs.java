// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.tensor.Tensor;
import java.util.List;

/** What records of arguments tell a pointwise kernel: up to three named tensors, or a list of them, and scalars. */
public interface PointwiseArgs {
    Tensor[] tensors();

    List<Number> scalars();

    record X(Tensor x, List<Number> scalars) implements PointwiseArgs {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x};
        }
    }

    record XY(Tensor x, Tensor y, List<Number> scalars) implements PointwiseArgs {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y};
        }
    }

    record XYZ(Tensor x, Tensor y, Tensor z, List<Number> scalars) implements PointwiseArgs {
        @Override
        public Tensor[] tensors() {
            return new Tensor[] {x, y, z};
        }
    }

    record Many(List<Tensor> inputs, List<Number> scalars) implements PointwiseArgs {
        @Override
        public Tensor[] tensors() {
            return inputs.toArray(new Tensor[0]);
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
