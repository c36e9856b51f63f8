// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.runtime.CudaException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** NVIDIA's driver and compiler as this machine has them, looked for once per process. */
public final class InstalledDriver {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");

    private InstalledDriver() {}

    /** What was found. */
    private record Probe(int devices, int version, @Nullable String failure) {
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
                case 0, -100 - CudaNumbers.CUDA_ERROR_NO_DEVICE ->
                    "an NVIDIA driver is there, but no CUDA device is visible to this process";
                default -> devices > 0 ? null : "the NVIDIA driver answers with error " + (-devices - 100);
            };
        }
    }

    /** Number of GPUs that it offers; 0 without a driver. */
    public static int devices() {
        return Probe.RESULT.devices;
    }

    /** The CUDA version that it is for, 1000 · major + 10 · minor; 0 without a driver. */
    public static int version() {
        return Probe.RESULT.version;
    }

    /** Why it cannot be used; null if it can. Loads nothing of CUDA's own but the compiler, and never throws. */
    public static @Nullable String unavailableBecause() {
        Probe found = Probe.RESULT;
        if (found.failure != null) {
            return found.failure;
        }
        return Nvrtc.get() == null
                ? "the driver offers " + found.devices + (found.devices == 1 ? " device" : " devices")
                        + ", but there is no compiler for kernels: "
                        + Nvrtc.unavailableBecause()
                        + "\n  fix: put the artifact org.bytedeco:cuda-redist on the class path, or name the folder of"
                        + " libnvrtc with -Dmerapi.cuda.libraries=…"
                : null;
    }

    /** @throws CudaException if it cannot be used after all */
    public static NativeCuda open() {
        Nvrtc nvrtc = Objects.requireNonNull(Nvrtc.get(), "asked before whether it can be used");
        NativeCuda runtime = new NativeCuda(Driver.open("libcuda.so.1"), version(), devices(), nvrtc);
        if (nvrtc.version() / 1000 > version() / 1000) {
            LOG.warn(
                    "cuda: {} is newer than the driver, for CUDA {}.{}, which may refuse what it compiles; fix: name the"
                            + " folder of an older one with -Dmerapi.cuda.libraries=…, and keep cuda-redist off the class path",
                    nvrtc.description(),
                    version() / 1000,
                    version() % 1000 / 10);
        }
        LOG.info("cuda: {}", runtime.libraries());
        return runtime;
    }
}
