// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

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

/**
 * A queue of work on a device: what one stream is given is done in order, what several are given may be done at the same
 * time. Each device has one of its own, which is used unless {@link #use} says otherwise.
 *
 * <pre>{@code
 * DeviceEvent copied;
 * try (var use = side.use()) {                 // for this thread, until the end of the block
 *     next = batch.to(device);
 *     copied = side.record();
 * }
 * …                                            // work on the device's own stream goes on meanwhile
 * DeviceStream.current(device).await(copied);        // what follows sees the copy
 * }</pre>
 *
 * <p>Memory is safe without further ado: what one stream has let go of is not used anew before streams that read it are
 * done. The order of reads and writes is the user's, by events. On devices without streams, such as the CPU, everything is
 * done when a call returns, and all of this does nothing.
 */
public final class DeviceStream implements StreamOrder, AutoCloseable {
    /** Whether streams besides the devices' own exist or have existed: only then is it noted who uses which memory. */
    private static volatile boolean any;

    private final Device device;
    private final @Nullable Streams backend;
    private final long handle;
    /** Where its memory comes from; null for a device's own, a captured one, and where there are no streams. */
    private final @Nullable CachingAllocator pool;

    private volatile boolean closed;

    /** A stream in use; ends when it is closed. */
    public interface Use extends AutoCloseable {
        @Override
        void close();
    }

    private DeviceStream(Device device, @Nullable Streams backend, long handle, boolean ownMemory) {
        this.device = device;
        this.backend = backend;
        this.handle = handle;
        this.pool = ownMemory ? Backends.allocator(device).pool("memory of a stream", this) : null;
    }

    /** A new stream of a device. */
    public static DeviceStream on(Device device) {
        Streams backend = streams(device);
        if (backend == null) {
            return new DeviceStream(device, null, 0, false);
        }
        any = true;
        return new DeviceStream(device, backend, backend.create(device.index()), true);
    }

    /** One that is captured, and never works itself. */
    static DeviceStream forCapture(Device device) {
        Streams backend = streams(device);
        return new DeviceStream(device, backend, backend == null ? 0 : backend.create(device.index()), false);
    }

    /** The stream that this thread's work on a device goes to. */
    public static DeviceStream current(Device device) {
        DeviceStream s = Context.current().stream();
        return s != null && s.device == device && s.isOpen() ? s : own(device);
    }

    /** The stream that a device has of its own. */
    public static DeviceStream own(Device device) {
        return new DeviceStream(device, streams(device), 0, false);
    }

    private static @Nullable Streams streams(Device device) {
        Backend backend = Backends.of(device.type());
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
    public Use use() {
        requireOpen("use");
        Context context = Context.current();
        if (context.graphCapture() != null) {
            throw new GraphCaptureException("stream.use: a captured step has one stream");
        }
        return install(context);
    }

    /** As {@link #use}, also for a capture. */
    Use install(Context context) {
        DeviceStream before = context.setStream(this);
        CachingAllocator allocator = context.ownAllocator();
        if (pool != null) {
            context.setOwnAllocator(pool);
        }
        return ThreadMode.begin(context, "stream.use", () -> {
            context.setStream(before);
            context.setOwnAllocator(allocator);
        })::close;
    }

    /** Work of this thread uses these tensors of a device: those at home on another stream must know. For the engine. */
    public static void noteUse(Device device, @Nullable Tensor... tensors) {
        if (!any) {
            return;
        }
        DeviceStream current = current(device);
        if (current.backend != null) {
            for (Tensor t : tensors) {
                if (t != null && !t.isMeta()) {
                    t.storage().recordStream(current);
                }
            }
        }
    }

    /**
     * An event that stands for all work which this stream was given so far.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public DeviceEvent record() {
        requireOpen("record");
        refuseInCapture("stream.record", "hands work of the step to another stream");
        DeviceEvent event = new DeviceEvent(this, backend);
        event.record();
        return event;
    }

    /**
     * Work that this stream is given from now on waits for an event; the caller does not.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public void await(DeviceEvent event) {
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
    @Override
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
