// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.UnseenPositionsContract;
import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

@Tag("kernels")
@ExtendWith(Simulator.class)
class CudaUnseenPositionsTest extends UnseenPositionsContract {
    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }
}
