// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import dev.merapi.testkit.UnseenPositionsContract;
import dev.merapi.types.Device;

class UnseenPositionsTest extends UnseenPositionsContract {
    @Override
    protected Device device() {
        return Device.CPU;
    }
}
