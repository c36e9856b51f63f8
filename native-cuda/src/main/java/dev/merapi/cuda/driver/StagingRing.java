// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import java.util.ArrayDeque;

/**
 * Pinned memory through which a device's copies to and from pageable memory pass, in pieces. A slot belongs to one thread
 * between {@link #take} and {@link #give}, and its memory may be written again when its event is over. Nobody waits for
 * the device with the lock in hand: a download that waits for a slow stream does not stop the copies of others.
 */
public final class StagingRing {
    private static final int SLOTS = 8;
    private static final int SLOT = 1 << 20;

    private final DriverDevice device;
    private final long functions;
    private final long[] events = new long[SLOTS];
    /** Slots that no thread has, the one that was given back first in front. */
    private final ArrayDeque<Integer> idle = new ArrayDeque<>(SLOTS);

    private long pinned;

    StagingRing(DriverDevice device, long functions) {
        this.device = device;
        this.functions = functions;
    }

    /** The host's bytes are taken when this returns; they arrive in the order of the stream. */
    void upload(long stream, long target, long host, long bytes) {
        for (long done = 0; done < bytes; done += SLOT) {
            long piece = Math.min(SLOT, bytes - done);
            int slot = take(true);
            try {
                await(slot);
                CudaNative.memory_copy(memory(slot), host + done, piece);
                int status = CudaNative.driver_upload(
                        functions, device.context(), stream, target + done, memory(slot), piece);
                device.check(status, "upload of " + bytes + " bytes");
                record(slot, stream);
            } finally {
                give(slot);
            }
        }
    }

    /** Waits for the stream; the bytes are there when this returns. The next piece is on its way while one is copied. */
    void download(long stream, long host, long source, long bytes) {
        int before = -1;
        int slot = -1;
        try {
            long beforeAt = 0;
            for (long done = 0; done < bytes || before >= 0; ) {
                // Who has a slot does not wait for another one, or all might.
                slot = done < bytes ? take(before < 0) : -1;
                if (slot >= 0) {
                    await(slot);
                    int status = CudaNative.driver_download(
                            functions,
                            device.context(),
                            stream,
                            memory(slot),
                            source + done,
                            Math.min(SLOT, bytes - done));
                    device.check(status, "download of " + bytes + " bytes");
                    record(slot, stream);
                }
                if (before >= 0) {
                    await(before);
                    CudaNative.memory_copy(host + beforeAt, memory(before), Math.min(SLOT, bytes - beforeAt));
                    give(before);
                }
                before = slot;
                beforeAt = done;
                done += slot >= 0 ? SLOT : 0;
                slot = -1;
            }
        } finally {
            give(before);
            give(slot);
        }
    }

    private long memory(int slot) {
        return pinned + (long) slot * SLOT;
    }

    /** A slot for this thread; -1 if others have all of them, and it is not to wait. */
    private synchronized int take(boolean waits) {
        if (pinned == 0) {
            for (int i = 0; i < SLOTS; i++) {
                events[i] = device.createEvent();
            }
            pinned = device.made(
                    result -> CudaNative.driver_host_allocate(functions, device.context(), (long) SLOTS * SLOT, result),
                    "pinned memory");
            for (int i = 0; i < SLOTS; i++) {
                idle.add(i);
            }
        }
        boolean interrupted = false;
        while (idle.isEmpty() && waits) {
            try {
                wait();
            } catch (InterruptedException e) {
                interrupted = true; // for those who ask: a copy is not left half done
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        return idle.isEmpty() ? -1 : idle.remove();
    }

    private synchronized void give(int slot) {
        if (slot >= 0) {
            idle.add(slot);
            notify();
        }
    }

    private void record(int slot, long stream) {
        device.check(CudaNative.driver_event_record(functions, device.context(), events[slot], stream), "an event");
    }

    private void await(int slot) {
        device.check(
                CudaNative.driver_event_synchronize(functions, device.context(), events[slot]), "waiting for a copy");
    }
}
