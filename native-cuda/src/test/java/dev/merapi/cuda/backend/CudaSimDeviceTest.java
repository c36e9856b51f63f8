// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.types.Device;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(Simulator.class)
class CudaSimDeviceTest extends DeviceContract {
    @Override
    Device device() {
        return Simulator.DEVICE;
    }

    @Override
    int scale() {
        return 1;
    }
}
