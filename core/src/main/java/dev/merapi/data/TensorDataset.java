// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.util.Objects;

/** Samples that lie in memory whole: inputs [N, ..] and targets [N, ..]. */
public final class TensorDataset implements Dataset<Labelled> {
    private final Tensor inputs;
    private final Tensor targets;

    /**
     * Samples that lie along the first dimension of two tensors.
     *
     * @param inputs [N, …], any dtype, on any device
     * @param targets [N, …], any dtype, on any device
     * @throws ShapeException if the numbers of samples differ
     */
    public TensorDataset(Tensor inputs, Tensor targets) {
        Objects.requireNonNull(inputs, "inputs");
        Objects.requireNonNull(targets, "targets");
        inputs.requireOpen("dataset", "inputs");
        targets.requireOpen("dataset", "targets");
        if (inputs.rank() < 1 || targets.rank() < 1 || inputs.size(0) != targets.size(0)) {
            throw new ShapeException("dataset: inputs and targets must have one sample each for each other"
                    + "\n  inputs: " + inputs.describe() + "\n  targets: " + targets.describe());
        }
        this.inputs = inputs.leaveScope();
        this.targets = targets.leaveScope();
    }

    @Override
    public long size() {
        return inputs.size(0);
    }

    @Override
    public Labelled batch(long[] samples) {
        Objects.requireNonNull(samples, "samples");
        try (Tensor index = Tensor.of(samples, samples.length);
                Tensor placed = index.to(inputs.device())) {
            return new Labelled(inputs.indexSelect(0, placed), targets.indexSelect(0, placed));
        }
    }

    /** {@return all inputs, [N, …]} */
    public Tensor inputs() {
        return inputs;
    }

    /** {@return all targets, [N, …]} */
    public Tensor targets() {
        return targets;
    }
}
