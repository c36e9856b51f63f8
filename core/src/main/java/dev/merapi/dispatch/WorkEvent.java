// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.backend.Streams;
import dev.merapi.error.GraphCaptureException;
import org.jspecify.annotations.Nullable;

/** An event of a device as the engine knows it, behind the users' {@code DeviceEvent}: with its handle. */
public final class WorkEvent implements AutoCloseable {
    private final WorkStream stream;
    private final @Nullable Streams backend;
    private final long handle;
    private boolean closed;

    WorkEvent(WorkStream stream, @Nullable Streams backend) {
        this.stream = stream;
        this.backend = backend;
        this.handle = backend == null ? 0 : backend.createEvent(stream.device().index());
    }

    void record() {
        if (backend != null) {
            backend.record(stream.device().index(), handle, stream.handle());
        }
    }

    boolean isOf(Streams other) {
        return backend == other;
    }

    long handle() {
        return handle;
    }

    /**
     * Waits until the work that it stands for is done, and for nothing that the stream was given since.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public synchronized void synchronize() { // who closes it waits: the handle is in use
        requireOpen();
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null && capture.device() == stream.device()) {
            throw capture.refused("event.synchronize", "waits for the device");
        }
        if (backend != null) {
            backend.synchronizeEvent(stream.device().index(), handle);
        }
    }

    void requireOpen() {
        if (closed) {
            throw new IllegalStateException("event of " + stream + ": it is closed");
        }
    }

    /** Frees the event; streams that wait for it still do. Idempotent. */
    @Override
    public synchronized void close() {
        if (!closed && backend != null) {
            backend.destroyEvent(stream.device().index(), handle);
        }
        closed = true;
    }
}
