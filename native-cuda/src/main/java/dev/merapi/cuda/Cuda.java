// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import org.jspecify.annotations.Nullable;

/** Whether CUDA can be used, and if not, why. Asking costs microseconds, loads nothing of CUDA's own, and never throws. */
public final class Cuda {
    private Cuda() {}

    /** What the probe found, once per process. */
    private record Probe(
            int devices, int driverVersion, @Nullable String failure) {
        static final Probe RESULT = ask();

        private static Probe ask() {
            try {
                int devices = CudaNative.driver_devices();
                return new Probe(Math.max(devices, 0), CudaNative.driver_version(), why(devices));
            } catch (LinkageError | RuntimeException e) {
                return new Probe(0, 0, "Merapi's own native library cannot be loaded: " + e);
            }
        }

        private static @Nullable String why(int devices) {
            return switch (devices) {
                case -1 -> "no NVIDIA driver: libcuda.so.1 is not on the library path";
                case -2 -> "libcuda.so.1 is there, but is no NVIDIA driver: it lacks cuInit";
                case 0, -200 -> "an NVIDIA driver is there, but no CUDA device is visible to this process";
                default -> devices > 0 ? null : "the NVIDIA driver answers with error " + (-devices - 100);
            };
        }
    }

    /** Whether tensors can live on a CUDA device. */
    public static boolean isAvailable() {
        return unavailableBecause() == null;
    }

    /** Why {@link #isAvailable} is false; null if it is true. */
    public static @Nullable String unavailableBecause() {
        String failure = Probe.RESULT.failure;
        return failure != null
                ? failure
                : "the driver has " + Probe.RESULT.devices
                        + " devices, but this version of Merapi runs CUDA kernels on the simulator only, cuda-sim";
    }

    /** Number of GPUs that the driver offers; 0 without a driver. */
    public static int driverDevices() {
        return Probe.RESULT.devices;
    }

    /** The CUDA version of the driver, 1000 · major + 10 · minor; 0 without a driver. */
    public static int driverVersion() {
        return Probe.RESULT.driverVersion;
    }
}
