// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.testkit.ManyOperandsContract;
import dev.merapi.types.Device;

class CpuManyOperandsTest extends ManyOperandsContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
