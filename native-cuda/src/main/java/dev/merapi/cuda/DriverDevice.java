// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.CudaRuntime.Properties;
import java.util.function.LongFunction;
import java.util.function.LongToIntFunction;
import org.jspecify.annotations.Nullable;

/** One GPU: its primary context, its compute stream, and pinned memory through which pageable memory passes. */
final class DriverDevice {
    private static final int NAME = 128;
    private static final int SLOTS = 8;
    private static final int SLOT = 1 << 20;

    private final Driver driver;
    private final int ordinal;
    private final LaunchLog launches;
    private final long context;
    private final Properties properties;
    private final long free;
    private final long compute;
    private final IndexFaults faults;

    /** The staging ring: memory of a slot may be used again when its event is over. */
    private final Object staging = new Object();

    private long pinned;
    private final long[] events = new long[SLOTS];
    private int next;

    private volatile @Nullable String lost;

    DriverDevice(Driver driver, int ordinal, LongFunction<String> names) {
        this.driver = driver;
        this.launches = new LaunchLog(names);
        this.ordinal = ordinal;
        try (HostMemory result = HostMemory.allocate(5L * Long.BYTES);
                HostMemory name = HostMemory.allocate(NAME)) {
            int status = CudaNative.driver_open(driver.functions(), ordinal, result.address(), name.address(), NAME);
            check(status, "the device cannot be used");
            context = result.buffer().getLong(0);
            int architecture = (int) result.buffer().getLong(Long.BYTES);
            int multiprocessors = (int) result.buffer().getLong(2 * Long.BYTES);
            properties = new Properties(
                    name.text(), architecture, multiprocessors, result.buffer().getLong(3 * Long.BYTES));
            free = result.buffer().getLong(4 * Long.BYTES);
        }
        compute = createStream();
        // The device sees pinned memory at the host's address.
        faults = new IndexFaults(made(
                result -> CudaNative.driver_host_allocate(functions(), context, IndexFaults.BYTES, result),
                "pinned memory"));
    }

    IndexFaults faults() {
        return faults;
    }

    Properties properties() {
        return properties;
    }

    /** Bytes that were free when the process began to use the device. */
    long free() {
        return free;
    }

    long context() {
        return context;
    }

    private long functions() {
        return driver.functions();
    }

    /** The driver's handle of a stream of the seam's. */
    long stream(long stream) {
        return stream == 0 ? compute : stream;
    }

    // ---------------------------------------------------------------- errors

    /** The kernels that were launched last: a fault shows later, at any call. */
    LaunchLog launches() {
        return launches;
    }

    /** See {@link #check(int, String, String)}. */
    void check(int status, String what) {
        if (status != 0) {
            check(status, what, "");
        }
    }

    /**
     * @param what that was called, which after a fault is not what has failed
     * @param facts for the message, a line each
     * @throws CudaException that says what went wrong and, after a fault, that the device is lost for this process
     */
    void check(int status, String what, String facts) {
        if (status == 0) {
            return;
        }
        String said = "cuda:" + ordinal + ": " + what + ": " + driver.explained(status);
        if (Driver.isFatal(status)) {
            throw lose(said + "\n  seen at this call, caused by work that was given to the device before"
                    + launches.facts());
        }
        throw new CudaException(said + facts);
    }

    /** For a kernel that was waited for: it is the culprit. */
    void faulted(int status, String op, String kernel, String facts) {
        String said = op + ": cuda:" + ordinal + ": kernel " + kernel + ": " + driver.explained(status);
        if (Driver.isFatal(status)) {
            throw lose(said + facts);
        }
        throw new CudaException(said + facts);
    }

    private CudaException lose(String said) {
        String first = lost;
        if (first == null) {
            lost = first = said;
        }
        return lost(first);
    }

    /** Before anything is given to a device that is lost. */
    void requireAlive() {
        String first = lost;
        if (first != null) {
            throw lost(first);
        }
    }

    private static CudaException lost(String first) {
        return new CudaException(first + "\n  the device is lost to this process: no call will succeed any more"
                + "\n  fix: restart it with -Dmerapi.cuda.checked=true, which waits for each kernel and names the culprit with"
                + " its tensors; on cuda-sim, CudaSim.setChecks(true) shows the tensor and the line.");
    }

    // ---------------------------------------------------------------- streams

    long createStream() {
        return made(result -> CudaNative.driver_stream_create(functions(), context, result), "a stream");
    }

    long createEvent() {
        return made(result -> CudaNative.driver_event_create(functions(), context, result), "an event");
    }

    /** Calls something that writes a handle. */
    long made(LongToIntFunction call, String what) {
        requireAlive();
        try (HostMemory result = HostMemory.allocate(Long.BYTES)) {
            check(call.applyAsInt(result.address()), what);
            return result.buffer().getLong(0);
        }
    }

    // ---------------------------------------------------------------- the host's memory

    /** The host's bytes are taken when this returns; they arrive in the order of the stream. */
    void upload(long stream, long target, long host, long bytes) {
        synchronized (staging) {
            for (long done = 0; done < bytes; done += SLOT) {
                long piece = Math.min(SLOT, bytes - done);
                int slot = take();
                CudaNative.memory_copy(memory(slot), host + done, piece);
                check(
                        CudaNative.driver_upload(functions(), context, stream, target + done, memory(slot), piece),
                        "upload of " + bytes + " bytes");
                give(slot, stream);
            }
        }
    }

    /** Waits for the stream; the bytes are there when this returns. The next piece is on its way while one is copied. */
    void download(long stream, long host, long source, long bytes) {
        synchronized (staging) {
            int before = -1;
            long beforeAt = 0;
            for (long done = 0; done < bytes || before >= 0; done += SLOT) {
                int slot = -1;
                if (done < bytes) {
                    slot = take();
                    long piece = Math.min(SLOT, bytes - done);
                    check(
                            CudaNative.driver_download(
                                    functions(), context, stream, memory(slot), source + done, piece),
                            "download of " + bytes + " bytes");
                    give(slot, stream);
                }
                if (before >= 0) {
                    await(before);
                    CudaNative.memory_copy(host + beforeAt, memory(before), Math.min(SLOT, bytes - beforeAt));
                }
                before = slot;
                beforeAt = done;
            }
        }
        faults.raise();
    }

    private long memory(int slot) {
        return pinned + (long) slot * SLOT;
    }

    /** The oldest slot, when what it was used for last is done. */
    private int take() {
        if (pinned == 0) {
            for (int i = 0; i < SLOTS; i++) {
                events[i] = createEvent();
            }
            pinned = made(
                    result -> CudaNative.driver_host_allocate(functions(), context, (long) SLOTS * SLOT, result),
                    "pinned memory");
        }
        int slot = next;
        next = (next + 1) % SLOTS;
        await(slot);
        return slot;
    }

    private void give(int slot, long stream) {
        check(CudaNative.driver_event_record(functions(), context, events[slot], stream), "an event");
    }

    private void await(int slot) {
        check(CudaNative.driver_event_synchronize(functions(), context, events[slot]), "waiting for a copy");
    }
}
