// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.testkit.DerivativeContract;
import dev.merapi.types.Device;

class CpuDerivativeTest extends DerivativeContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
