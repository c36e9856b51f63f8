// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import dev.merapi.testkit.SingularPointsContract;
import dev.merapi.types.Device;

class SingularPointsTest extends SingularPointsContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
