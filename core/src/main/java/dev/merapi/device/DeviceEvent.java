// SPDX-License-Identifier: Apache-2.0
package dev.merapi.device;

import dev.merapi.dispatch.WorkEvent;
import dev.merapi.error.GraphCaptureException;

/** A point in the work of a stream, made by {@link DeviceStream#record}; other streams and the host can wait for it. */
public final class DeviceEvent implements AutoCloseable {
    final WorkEvent work;

    DeviceEvent(WorkEvent work) {
        this.work = work;
    }

    /**
     * Waits until the work that it stands for is done, and for nothing that the stream was given since.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public void synchronize() {
        work.synchronize();
    }

    /** Frees the event; streams that wait for it still do. Idempotent. */
    @Override
    public void close() {
        work.close();
    }
}
