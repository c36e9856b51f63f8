// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.testkit.UnseenPositionsContract;
import dev.merapi.types.Device;

class CpuUnseenPositionsTest extends UnseenPositionsContract {
    @Override
    protected Device device() {
        return Device.CPU;
    }
}
