// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.driver.CudaNative;
import dev.merapi.cuda.driver.CudaNumbers;
import dev.merapi.cuda.driver.Driver;
import dev.merapi.cuda.driver.NativeCuda;
import dev.merapi.cuda.driver.Nvrtc;
import dev.merapi.cuda.launch.CudaRuntime;
import dev.merapi.dispatch.Backends;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Whether CUDA can be used, and if not, why. Asking costs microseconds, loads nothing of CUDA's own, and never throws. */
public final class Cuda {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");

    private static final ThreadLocal<Integer> SYNCS_ALLOWED = ThreadLocal.withInitial(() -> 0);
    private static volatile boolean refusesSyncs;

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
                case 0, -100 - CudaNumbers.CUDA_ERROR_NO_DEVICE ->
                    "an NVIDIA driver is there, but no CUDA device is visible to this process";
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
        if (Probe.RESULT.failure != null) {
            return Probe.RESULT.failure;
        }
        return Nvrtc.get() == null
                ? "the driver offers " + Probe.RESULT.devices + (Probe.RESULT.devices == 1 ? " device" : " devices")
                        + ", but there is no compiler for kernels: "
                        + Nvrtc.unavailableBecause()
                        + "\n  fix: put the artifact org.bytedeco:cuda-redist on the class path, or name the folder of"
                        + " libnvrtc with -Dmerapi.cuda.libraries=…"
                : null;
    }

    /** @throws CudaException if the driver cannot be used after all */
    static CudaRuntime open() {
        Nvrtc nvrtc = java.util.Objects.requireNonNull(Nvrtc.get(), "asked before whether CUDA is available");
        NativeCuda runtime = new NativeCuda(Driver.open("libcuda.so.1"), Probe.RESULT.devices, nvrtc);
        if (nvrtc.version() / 1000 > Probe.RESULT.driverVersion / 1000) {
            LOG.warn(
                    "cuda: {} is newer than the driver, for CUDA {}.{}, which may refuse what it compiles; fix: name the"
                            + " folder of an older one with -Dmerapi.cuda.libraries=…, and keep cuda-redist off the class path",
                    nvrtc.description(),
                    Probe.RESULT.driverVersion / 1000,
                    Probe.RESULT.driverVersion % 1000 / 10);
        }
        LOG.info("cuda: {}", runtime.libraries());
        return runtime;
    }

    /**
     * Whether reads of a device's memory ({@code item()}, {@code toFloatArray()}, moves to the host) are errors outside of
     * {@link #allowSyncs}: each waits for all work before it, which is what makes training loops slow. Off at first; for
     * all threads, and for the simulator too.
     */
    public static void refuseSilentSyncs(boolean on) {
        refusesSyncs = on;
    }

    /** Until it is closed, this thread may wait for the device: {@code try (var wait = Cuda.allowSyncs()) { loss.item(); }} */
    public static SyncScope allowSyncs() {
        SYNCS_ALLOWED.set(SYNCS_ALLOWED.get() + 1);
        return ThreadMode.begin(Context.current(), "allowSyncs", () -> SYNCS_ALLOWED.set(SYNCS_ALLOWED.get() - 1))
                ::close;
    }

    /** See {@link #allowSyncs}. */
    public interface SyncScope extends AutoCloseable {
        @Override
        void close();
    }

    /** @throws CudaException if reading that tensor would be a wait that is refused */
    public static void requireSync(Tensor read) {
        if (refusesSyncs && SYNCS_ALLOWED.get() == 0) {
            throw new CudaException(
                    "cuda: reading " + read.describe() + " waits for the device, and silent waits are refused"
                            + "\n  fix: keep the value on the device, or read it inside of try (var wait = Cuda.allowSyncs()) {…}.");
        }
    }

    /**
     * What the driver calls a device, such as {@code NVIDIA H100 80GB HBM3}.
     *
     * @throws IllegalArgumentException if it is no CUDA device, nor a simulated one
     */
    public static String deviceName(Device device) {
        if (Backends.of(device.type()) instanceof KernelBackend backend) {
            return backend.kernels().runtime().properties(device.index()).name();
        }
        throw new IllegalArgumentException("cuda: " + device + " is no CUDA device");
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
