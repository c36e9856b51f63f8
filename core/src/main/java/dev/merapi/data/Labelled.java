// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;

/** A batch for supervised learning: inputs [B, ..] and what should come out of them [B, ..]. */
public record Labelled(Tensor inputs, Tensor targets) {
    /** Itself if it is there, else a copy on that device. */
    public Labelled to(Device device) {
        return new Labelled(inputs.to(device), targets.to(device));
    }
}
