// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import dev.merapi.testkit.ManyOperandsContract;
import dev.merapi.types.Device;

class ManyOperandsTest extends ManyOperandsContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
