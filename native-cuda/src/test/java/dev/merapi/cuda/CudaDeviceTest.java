// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

@Tag("gpu")
@ExtendWith(Gpu.class)
class CudaDeviceTest extends DeviceContract {
    @Override
    Device device() {
        return Gpu.DEVICE;
    }

    @Override
    int scale() {
        return 1024;
    }
}
