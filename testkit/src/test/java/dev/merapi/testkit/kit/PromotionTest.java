// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import dev.merapi.testkit.PromotionContract;
import dev.merapi.types.Device;

class PromotionTest extends PromotionContract {
    @Override
    protected Device device() {
        return Device.of("cpu");
    }
}
