// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import dev.merapi.testkit.DerivativeContract;
import dev.merapi.types.Device;

class DerivativeAccuracyTest extends DerivativeContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
