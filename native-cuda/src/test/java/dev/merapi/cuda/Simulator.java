// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.cuda.driver.Nvrtc;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The simulated device of these tests; they are skipped, with the reason, where there is no C++ compiler. With
 * {@code -Dmerapi.cuda.tests=gpu} those that are tagged {@code kernels} run on a GPU instead, and fail if there is none; with
 * {@code =driver} on a driver made of threads, which is as late as a GPU: what would fail on every GPU fails here.
 */
public final class Simulator implements BeforeAllCallback {
    private static final String ON = System.getProperty("merapi.cuda.tests", "simulator");
    private static final boolean ON_A_GPU = ON.equals("gpu");
    private static final Device SIMULATED = Device.of(DeviceType.CUDA_SIM, 0);

    /** Whether kernels are launched through a driver: nothing of the simulator's own can be expected. */
    public static final boolean BY_A_DRIVER = !ON.equals("simulator");

    /** Whether a kernel is done when its launch returns. */
    public static final boolean WAITS = !BY_A_DRIVER || Boolean.getBoolean("merapi.cuda.checked");

    public static final Device DEVICE = device();

    private static Device device() {
        return switch (ON) {
            case "gpu" -> Gpu.DEVICE;
            case "driver" -> unavailable().isEmpty() ? FakeGpu.lasting("cuda-late") : SIMULATED;
            default -> SIMULATED;
        };
    }

    /** What the driver of these tests loads. */
    public static byte[] image(KernelSource source) {
        Kernels kernels = Kernels.of(Backends.of(DEVICE.type()));
        return ON_A_GPU
                ? java.util.Objects.requireNonNull(Nvrtc.get())
                        .compile(
                                source,
                                Integer.parseInt(kernels.runtime()
                                        .properties(0)
                                        .architecture()
                                        .substring("sm_".length())))
                : FakeGpu.image(source);
    }

    /** Before the class's own preparations, which need the device already. */
    @Override
    public void beforeAll(ExtensionContext context) {
        require();
    }

    public static void require() {
        if (ON_A_GPU) {
            Gpu.require();
            return;
        }
        String reason = unavailable();
        assumeTrue(reason.isEmpty(), reason);
    }

    private static String unavailable() {
        try {
            Backends.of(DeviceType.CUDA_SIM);
            return "";
        } catch (DeviceException e) {
            return String.valueOf(e.getMessage());
        }
    }
}
