// SPDX-License-Identifier: Apache-2.0
package dev.merapi.device;

import dev.merapi.dispatch.WorkStream;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.types.Device;
import java.util.Objects;
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
 * DeviceStream.current(device).await(copied);  // what follows sees the copy
 * }</pre>
 *
 * <p>Memory is safe without further ado: what one stream has let go of is not used anew before streams that read it are
 * done. The order of reads and writes is the user's, by events. On devices without streams, such as the CPU, everything is
 * done when a call returns, and all of this does nothing.
 *
 * <p>Two are equal if they are the same stream.
 */
public final class DeviceStream implements AutoCloseable {
    /** A stream in use; ends when it is closed. */
    public interface Use extends AutoCloseable {
        /** Work of this thread goes where it went before. Idempotent. */
        @Override
        void close();
    }

    private final WorkStream work;

    private DeviceStream(WorkStream work) {
        this.work = work;
    }

    /**
     * A new stream of a device.
     *
     * @param device whose work it takes
     * @return a stream, to be closed
     */
    public static DeviceStream on(Device device) {
        return new DeviceStream(WorkStream.on(device));
    }

    /**
     * The stream that this thread's work on a device goes to.
     *
     * @param device whose stream is meant
     * @return the one in use, or the device's own
     */
    public static DeviceStream current(Device device) {
        return new DeviceStream(WorkStream.current(device));
    }

    /**
     * The stream that a device has of its own.
     *
     * @param device whose stream is meant
     * @return its own stream, which nobody needs to close
     */
    public static DeviceStream own(Device device) {
        return new DeviceStream(WorkStream.own(device));
    }

    /** {@return the device whose work it takes} */
    public Device device() {
        return work.device();
    }

    /** {@return the backend's handle; 0 is the device's own stream} */
    public long handle() {
        return work.handle();
    }

    /** {@return whether it is not closed} */
    public boolean isOpen() {
        return work.isOpen();
    }

    /**
     * Work of this thread on the stream's device goes to it until the result is closed.
     *
     * @return what ends the use, to be closed by this thread
     * @throws GraphCaptureException while this thread captures a graph
     */
    public Use use() {
        return work.use()::close;
    }

    /**
     * An event that stands for all work which this stream was given so far.
     *
     * @return an event, to be closed
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public DeviceEvent record() {
        return new DeviceEvent(work.record());
    }

    /**
     * Work that this stream is given from now on waits for an event; the caller does not.
     *
     * @param event of any stream
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public void await(DeviceEvent event) {
        work.await(Objects.requireNonNull(event, "event").work);
    }

    /**
     * Waits until all work that this stream was given is done.
     *
     * @throws GraphCaptureException while this thread captures a graph of the stream's device
     */
    public void synchronize() {
        work.synchronize();
    }

    /** Waits for the stream's work and frees it; a device's own stream stays. Idempotent. */
    @Override
    public void close() {
        work.close();
    }

    @Override
    public boolean equals(@Nullable Object other) {
        return other instanceof DeviceStream s && s.work.isSame(work);
    }

    @Override
    public int hashCode() {
        return Long.hashCode(work.handle()) * 31 + work.device().hashCode();
    }

    @Override
    public String toString() {
        return work.toString();
    }
}
