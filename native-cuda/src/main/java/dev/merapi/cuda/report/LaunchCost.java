// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.report;

import dev.merapi.cuda.backend.KernelBackend;
import dev.merapi.cuda.driver.NativeCuda;
import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.types.Device;
import java.util.List;

/**
 * What a launch costs the host without this engine: {@code cuLaunchKernel} called in a native loop, with a kernel that has
 * neither work nor arguments. For reports, to hold the time of a call against.
 */
public final class LaunchCost {
    private static final KernelSource NOTHING = new KernelSource(
            "merapi::nothing", "extern \"C\" __global__ void merapi_nothing() {}\n", List.of("merapi_nothing"));

    private final NativeCuda cuda;
    private final int device;
    private final KernelFunction function;

    private LaunchCost(NativeCuda cuda, int device, KernelFunction function) {
        this.cuda = cuda;
        this.device = device;
        this.function = function;
    }

    /**
     * The cost on a device.
     *
     * @throws IllegalArgumentException if it is not NVIDIA's driver that stands behind the device
     */
    public static LaunchCost on(Device device) {
        if (BackendChoice.of(device.type()) instanceof KernelBackend backend
                && backend.runtime() instanceof NativeCuda cuda) {
            return new LaunchCost(cuda, device.index(), Kernels.of(backend).function(device.index(), NOTHING));
        }
        throw new IllegalArgumentException("launch cost: " + device + " is no device of NVIDIA's driver");
    }

    /**
     * Seconds of the calling thread for each of so many launches, one after the other on the device's own stream. The device
     * is idle before the first one; more than it queues would measure the device.
     */
    public double seconds(int launches) {
        if (launches < 1) {
            throw new IllegalArgumentException("launch cost: of " + launches + " launches");
        }
        return cuda.launchCost(device, function.handle(), launches);
    }
}
