// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.dispatch.Backends;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The simulated device of these tests; they are skipped, with the reason, where there is no C++ compiler. Those that are
 * tagged {@code kernels} run on a GPU instead with {@code -Dmerapi.cuda.tests=gpu}, where they fail if there is none.
 */
final class Simulator implements BeforeAllCallback {
    static final boolean ON_A_GPU = "gpu".equals(System.getProperty("merapi.cuda.tests"));
    static final Device DEVICE = ON_A_GPU ? Gpu.DEVICE : Device.of(DeviceType.CUDA_SIM, 0);

    /** Before the class's own preparations, which need the device already. */
    @Override
    public void beforeAll(ExtensionContext context) {
        require();
    }

    static void require() {
        if (ON_A_GPU) {
            Gpu.require();
            return;
        }
        String reason = "";
        try {
            Backends.of(DeviceType.CUDA_SIM);
        } catch (DeviceException e) {
            reason = e.getMessage();
        }
        assumeTrue(reason.isEmpty(), reason);
    }
}
