// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.testkit.SingularPointsContract;
import dev.merapi.types.Device;

class CpuSingularPointsTest extends SingularPointsContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
