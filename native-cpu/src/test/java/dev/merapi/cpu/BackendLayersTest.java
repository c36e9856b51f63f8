// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.testkit.BackendLayers;
import org.junit.jupiter.api.Test;

class BackendLayersTest {
    @Test
    void kernelsKnowNoGraph() {
        BackendLayers.check("dev.merapi.cpu");
    }
}
