// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.Backend;
import dev.merapi.backend.Streams;
import dev.merapi.error.DeviceException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.StreamOrder;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import org.jspecify.annotations.Nullable;

/** A stream of a device as the engine knows it, behind the users' {@code DeviceStream}: with its handle, and the memory that is used again in its order. */
public final class WorkStream implements StreamOrder {
    /** Whether streams besides the devices' own exist or have existed: only then is it noted who uses which memory. */
    private static volatile boolean any;

    private final Device device;
    private final @Nullable Streams backend;
    private final long handle;
    /** Where its memory comes from; null for a device's own, a captured one, and where there are no streams. */
    private final @Nullable CachingAllocator pool;

    private volatile boolean closed;

    private WorkStream(Device device, @Nullable Streams backend, long handle, boolean ownMemory) {
        this.device = device;
        this.backend = backend;
        this.handle = handle;
        this.pool = ownMemory ? BackendChoice.allocator(device).pool("memory of a stream", this) : null;
    }

    /** A new stream of a device. */
    public static WorkStream on(Device device) {
        Streams backend = streams(device);
        if (backend == null) {
            return new WorkStream(device, null, 0, false);
        }
        any = true;
        return new WorkStream(device, backend, backend.create(device.index()), true);
    }

    /** One that is captured, and never works itself. */
    static WorkStream forCapture(Device device) {
        Streams backend = streams(device);
        return new WorkStream(device, backend, backend == null ? 0 : backend.create(device.index()), false);
    }

    /** The stream that this thread's work on a device goes to. */
    public static WorkStream current(Device device) {
        WorkStream s = Context.current().stream();
        return s != null && s.device == device && s.isOpen() ? s : own(device);
    }

    /** The stream that a device has of its own. */
    public static WorkStream own(Device device) {
        return new WorkStream(device, streams(device), 0, false);
    }

    private static @Nullable Streams streams(Device device) {
        Backend backend = BackendChoice.of(device.type());
        if (device.index() >= backend.deviceCount()) {
            throw new DeviceException(device + ": there are only " + backend.deviceCount() + " devices of that type");
        }
        return backend.streams();
    }

    public Device device() {
        return device;
    }

    /** The backend's handle; 0 is the device's own stream. */
    @Override
    public long handle() {
        return handle;
    }

    /**
     * Work of this thread on the stream's device goes to it until the result is closed.
     *
     * @throws GraphCaptureException while this thread captures a graph
     */
    public ThreadMode use() {
        requireOpen("use");
        Context context = Context.current();
        if (context.graphCapture() != null) {
            throw new GraphCaptureException("stream.use: a captured step has one stream");
        }
        return install(context);
    }

    /** As {@link #use}, also for a capture. */
    ThreadMode install(Context context) {
        WorkStream before = context.setStream(this);
        CachingAllocator allocator = context.ownAllocator();
        if (pool != null) {
            context.setOwnAllocator(pool);
        }
        return ThreadMode.begin(context, "stream.use", () -> {
            context.setStream(before);
            context.setOwnAllocator(allocator);
        });
    }

    /** Work of this thread uses these tensors of a device: those at home on another stream must know. For the engine. */
    public static void noteUse(Device device, @Nullable Tensor... tensors) {
        if (!any) {
            return;
        }
        WorkStream current = current(device);
        if (current.backend != null) {
            for (Tensor t : tensors) {
                if (t != null && !t.isMeta()) {
                    TENSORS.storage(t).recordStream(current);
                }
            }
        }
    }

    /**
     * An event that stands for all work which this stream was given so far.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public WorkEvent record() {
        requireOpen("record");
        refuseInCapture("stream.record", "hands work of the step to another stream");
        WorkEvent event = new WorkEvent(this, backend);
        event.record();
        return event;
    }

    /**
     * Work that this stream is given from now on waits for an event; the caller does not.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public void await(WorkEvent event) {
        requireOpen("await");
        refuseInCapture("stream.await", "waits for work from outside of the step");
        event.requireOpen();
        if (backend != null && event.isOf(backend)) {
            backend.await(device.index(), handle, event.handle());
        } else {
            event.synchronize(); // of another kind of device
        }
    }

    /** Waits until all work that this stream was given is done. */
    public void synchronize() {
        requireOpen("synchronize");
        refuseInCapture("stream.synchronize", "waits for the device");
        if (backend != null) {
            backend.synchronize(device.index(), handle);
        }
    }

    @Override
    public boolean isOpen() {
        return !closed;
    }

    /** Whether the other one is this stream, or both are the one that a device has of its own. */
    public boolean isSame(WorkStream other) {
        return this == other || handle == 0 && other.handle == 0 && device == other.device;
    }

    private void refuseInCapture(String what, String why) {
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null && capture.device() == device) {
            throw capture.refused(what, why);
        }
    }

    private void requireOpen(String what) {
        if (closed) {
            throw new IllegalStateException(Message.of("stream." + what + ": the stream is closed")
                    .fact("device", device)
                    .toString());
        }
    }

    /** Waits for the stream's work and frees it; a device's own stream stays. Idempotent. */
    public void close() {
        if (!closed && handle != 0 && backend != null) {
            synchronize();
            closed = true;
            if (pool != null) {
                pool.close(Context.current().memory());
            }
            backend.destroy(device.index(), handle);
        }
    }

    @Override
    public String toString() {
        return device + (handle == 0 ? " stream" : " stream " + Long.toHexString(handle));
    }
}
