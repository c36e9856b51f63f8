// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.dispatch.Backends;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;

/** The simulated device of these tests; they are skipped, with the reason, where there is no C++ compiler. */
final class Simulator {
    static final Device DEVICE = Device.of(DeviceType.CUDA_SIM, 0);

    private Simulator() {}

    static void require() {
        String reason = "";
        try {
            Backends.of(DeviceType.CUDA_SIM);
        } catch (DeviceException e) {
            reason = e.getMessage();
        }
        assumeTrue(reason.isEmpty(), reason);
    }
}
