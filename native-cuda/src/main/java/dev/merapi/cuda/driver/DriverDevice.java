// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.CudaRuntime.Properties;
import dev.merapi.cuda.runtime.IndexFaults;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongFunction;
import java.util.function.LongToIntFunction;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One GPU: its primary context, its compute stream, and what is known of its faults. */
public final class DriverDevice {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    private static final int NAME = 128;

    private final Driver driver;
    private final int ordinal;
    private final LaunchLog launches;
    private final long context;
    /** Compute capability as 10 · major + minor. */
    private final int architecture;

    private final Properties properties;
    private final long free;
    private final DriverStreams streams;
    private final long compute;
    private final IndexFaults faults;

    private final StagingRing staging;
    /** Devices that this one was asked to reach, whether it can or not. */
    private final Set<DriverDevice> reached = ConcurrentHashMap.newKeySet();

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
            architecture = (int) result.buffer().getLong(Long.BYTES);
            int multiprocessors = (int) result.buffer().getLong(2 * Long.BYTES);
            properties = new Properties(
                    name.text(),
                    "sm_" + architecture,
                    multiprocessors,
                    CudaRuntime.GROUP,
                    architecture >= 80,
                    result.buffer().getLong(3 * Long.BYTES));
            free = result.buffer().getLong(4 * Long.BYTES);
        }
        streams = new DriverStreams(this, driver.functions());
        compute = streams.create();
        staging = new StagingRing(this, driver.functions());
        // The device sees pinned memory at the host's address.
        faults = new IndexFaults(made(
                result -> CudaNative.driver_host_allocate(functions(), context, IndexFaults.BYTES, result),
                "pinned memory"));
    }

    StagingRing staging() {
        return staging;
    }

    IndexFaults faults() {
        return faults;
    }

    Properties properties() {
        return properties;
    }

    /** Compute capability as 10 · major + minor. */
    int architecture() {
        return architecture;
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
    void faulted(int status, String op, String what, String facts) {
        String said = op + ": cuda:" + ordinal + ": " + what + ": " + driver.explained(status);
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

    /** Whether no fault has been seen. */
    boolean isAlive() {
        return lost == null;
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

    DriverStreams streams() {
        return streams;
    }

    long createEvent() {
        return made(result -> CudaNative.driver_event_create(functions(), context, result), "an event");
    }

    void destroyEvent(long event) {
        check(CudaNative.driver_event_destroy(functions(), context, event), "end of an event");
    }

    void record(long event, long stream) {
        check(CudaNative.driver_event_record(functions(), context, event, stream), "record of an event");
    }

    void synchronizeEvent(long event) {
        check(CudaNative.driver_event_synchronize(functions(), context, event), "waiting for an event");
    }

    /** What a stream of this device is given from now on waits for all that one of another device was given so far. */
    void await(long stream, DriverDevice other, long before) {
        long event = other.createEvent();
        try {
            other.record(event, other.stream(before));
            check(
                    CudaNative.driver_event_await(functions(), context, stream(stream), event),
                    "waiting for an event of cuda:" + other.ordinal);
        } finally {
            other.destroyEvent(event);
        }
    }

    /** Copies to another device go the shortest way there is. */
    void reach(DriverDevice other) {
        if (reached.add(other)) {
            int status = CudaNative.driver_reach(functions(), context, ordinal, other.context, other.ordinal);
            LOG.info(
                    "cuda:{}: copies to cuda:{} {}",
                    ordinal,
                    other.ordinal,
                    status == 0 ? "are direct" : "go through the host: " + driver.explained(status));
        }
    }

    /** Calls something that writes a handle. */
    long made(LongToIntFunction call, String what) {
        requireAlive();
        try (HostMemory result = HostMemory.allocate(Long.BYTES)) {
            check(call.applyAsInt(result.address()), what);
            return result.buffer().getLong(0);
        }
    }
}
