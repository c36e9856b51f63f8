// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.testkit.PromotionContract;
import dev.merapi.types.Device;

class CpuPromotionTest extends PromotionContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
