// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The streams of a GPU, and which of them are being captured. Who waits for the device waits for the others one by one:
 * the driver's own call refuses while any stream is captured, and breaks that capture, whichever thread it belongs to.
 */
public final class DriverStreams {
    private final DriverDevice device;
    private final long functions;
    /** Guarded by this, as is the beginning of a capture: no stream turns to one while its event is recorded. */
    private final Set<Long> known = new HashSet<>();

    private final Set<Long> captured = ConcurrentHashMap.newKeySet();

    DriverStreams(DriverDevice device, long functions) {
        this.device = device;
        this.functions = functions;
    }

    long create() {
        long stream =
                device.made(result -> CudaNative.driver_stream_create(functions, device.context(), result), "a stream");
        synchronized (this) {
            known.add(stream);
        }
        return stream;
    }

    synchronized void destroy(long stream) {
        known.remove(stream);
        device.check(CudaNative.driver_stream_destroy(functions, device.context(), stream), "end of a stream");
    }

    synchronized void beginCapture(long stream) {
        device.check(CudaNative.driver_capture_begin(functions, device.context(), stream), "beginning a capture");
        captured.add(stream);
    }

    /** A graph that is ready to be launched, and of how many nodes it is. */
    record Captured(long graph, long nodes) {}

    Captured endCapture(long stream) {
        device.requireAlive();
        try (HostMemory result = HostMemory.allocate(2L * Long.BYTES)) {
            device.check(
                    CudaNative.driver_capture_end(functions, device.context(), stream, result.address()),
                    "ending a capture");
            return new Captured(result.buffer().getLong(0), result.buffer().getLong(Long.BYTES));
        } finally {
            captured.remove(stream);
        }
    }

    boolean isCaptured(long stream) {
        return captured.contains(stream);
    }

    /** Waits for what all streams were given so far, but for those that are captured: they do nothing. */
    void synchronize() {
        List<Long> events = new ArrayList<>();
        try {
            synchronized (this) {
                for (long stream : known) {
                    if (!captured.contains(stream)) {
                        long event = device.createEvent();
                        events.add(event);
                        device.record(event, stream);
                    }
                }
            }
            events.forEach(device::synchronizeEvent);
        } finally {
            events.forEach(device::destroyEvent);
        }
    }
}
