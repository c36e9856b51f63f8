// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.backend.KernelBackend;
import dev.merapi.cuda.driver.InstalledDriver;
import dev.merapi.cuda.launch.SilentSyncs;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.types.Device;
import org.jspecify.annotations.Nullable;

/** Whether CUDA can be used, and if not, why. Asking costs microseconds, loads nothing of CUDA's own, and never throws. */
public final class Cuda {
    private Cuda() {}

    /** Whether tensors can live on a CUDA device. */
    public static boolean isAvailable() {
        return unavailableBecause() == null;
    }

    /** Why {@link #isAvailable} is false; null if it is true. */
    public static @Nullable String unavailableBecause() {
        return InstalledDriver.unavailableBecause();
    }

    /**
     * Whether reads of a device's memory ({@code item()}, {@code toFloatArray()}, moves to the host) are errors outside of
     * {@link #allowSyncs}: each waits for all work before it, which is what makes training loops slow. Off at first; for
     * all threads, and for the simulator too.
     */
    public static void refuseSilentSyncs(boolean on) {
        SilentSyncs.refuse(on);
    }

    /** Until it is closed, this thread may wait for the device: {@code try (var wait = Cuda.allowSyncs()) { loss.item(); }} */
    public static SyncScope allowSyncs() {
        return SilentSyncs.allow()::close;
    }

    /** See {@link #allowSyncs}. */
    public interface SyncScope extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * What the driver calls a device, such as {@code NVIDIA H100 80GB HBM3}.
     *
     * @throws IllegalArgumentException if it is no CUDA device, nor a simulated one
     */
    public static String deviceName(Device device) {
        if (BackendChoice.of(device.type()) instanceof KernelBackend backend) {
            return backend.runtime().properties(device.index()).name();
        }
        throw new IllegalArgumentException("cuda: " + device + " is no CUDA device");
    }

    /** Number of GPUs that the driver offers; 0 without a driver. */
    public static int driverDevices() {
        return InstalledDriver.devices();
    }

    /** The CUDA version of the driver, 1000 · major + 10 · minor; 0 without a driver. */
    public static int driverVersion() {
        return InstalledDriver.version();
    }
}
