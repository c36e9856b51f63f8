// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;

/**
 * A batch for supervised learning: inputs [B, ..] and what should come out of them [B, ..].
 *
 * @param inputs a tensor whose first dimension is the batch
 * @param targets a tensor whose first dimension is the batch
 */
public record Labelled(Tensor inputs, Tensor targets) {
    /**
     * Itself if it is there, else a copy on that device.
     *
     * @param device where it shall be
     * @return this or a copy
     */
    public Labelled to(Device device) {
        return new Labelled(inputs.to(device), targets.to(device));
    }

    /**
     * Copies another batch into these tensors: the inputs of a captured step, for instance.
     *
     * @param other of the same sizes; dtypes convert
     * @throws ShapeException if it has other sizes
     */
    public void copyFrom(Labelled other) {
        if (!other.inputs.shape().equals(inputs.shape())
                || !other.targets.shape().equals(targets.shape())) {
            throw new ShapeException(Message.of("copyFrom: the batches differ in size")
                    .fact("inputs", other.inputs.describe() + " into " + inputs.describe())
                    .fact("targets", other.targets.describe() + " into " + targets.describe())
                    .fix("leave out a smaller last batch with loader.dropLast()."));
        }
        inputs.copy_(other.inputs);
        targets.copy_(other.targets);
    }
}
