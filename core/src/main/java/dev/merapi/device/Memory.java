// SPDX-License-Identifier: Apache-2.0
package dev.merapi.device;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.memory.MemoryStats;
import dev.merapi.types.Device;
import java.util.List;

/** Looking at, limiting and trimming the memory of a device. */
public final class Memory {
    private Memory() {}

    /**
     * Bytes allocated, reserved and at peak, and the cap.
     *
     * @param device whose memory is meant, such as {@code Device.CPU}
     * @return one moment's numbers
     */
    public static MemoryStats stats(Device device) {
        return BackendChoice.allocator(device).stats();
    }

    /**
     * Limits what is taken from a device, in bytes. The default is three quarters of the machine or container.
     *
     * @param device whose memory is meant, such as {@code Device.CPU}
     * @param bytes at least 0; what is reserved beyond it is kept, but nothing more is taken
     */
    public static void setCap(Device device, long bytes) {
        BackendChoice.allocator(device).setCap(bytes);
    }

    /**
     * Gives cached memory that nobody uses back to the device; what calls in progress keep at hand stays.
     *
     * @param device whose memory is meant, such as {@code Device.CPU}
     */
    public static void trim(Device device) {
        BackendChoice.allocator(device).trim(Context.current().memory());
    }

    /**
     * The peak starts again from what is allocated now.
     *
     * @param device whose memory is meant, such as {@code Device.CPU}
     */
    public static void resetPeak(Device device) {
        BackendChoice.allocator(device).resetPeak();
    }

    /**
     * The largest live tensors, one a line: bytes, dtype and shape, and where it was made if leak detection is on.
     *
     * @param device whose memory is meant, such as {@code Device.CPU}
     * @param count how many, at least 0
     * @return at most so many lines, the largest tensor first
     */
    public static List<String> largest(Device device, int count) {
        if (count < 0) {
            throw new IllegalArgumentException("largest: count is " + count + ", but must be at least 0");
        }
        return BackendChoice.allocator(device).largest(count);
    }
}
