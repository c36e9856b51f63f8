// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.op.tree.Tree;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import org.jspecify.annotations.Nullable;

/** Brings batches to a device on a stream of its own, beside the work of whoever takes them. By one thread. */
final class Delivery implements AutoCloseable {
    private final Device device;
    private final DeviceStream stream;

    Delivery(Device device) {
        this.device = device;
        this.stream = DeviceStream.on(device);
    }

    /** A batch on the device, and when it is there. */
    record Delivered<B>(B batch, DeviceEvent there) {}

    <B> Delivered<B> deliver(B batch) {
        try (DeviceStream.Use use = stream.use()) {
            B moved = moved(batch, device);
            return new Delivered<>(moved, stream.record());
        }
    }

    /** The same batch on a device; tensors that were elsewhere are closed. */
    static <B> B moved(B batch, @Nullable Device device) {
        return device == null
                ? batch
                : Tree.map(batch, null, t -> {
                    Tensor from = java.util.Objects.requireNonNull(t);
                    Tensor to = from.to(device);
                    if (to != from) {
                        from.close();
                    }
                    return to;
                });
    }

    /** Waits until all batches are there. */
    @Override
    public void close() {
        stream.close();
    }
}
