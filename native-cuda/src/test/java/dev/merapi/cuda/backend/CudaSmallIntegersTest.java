// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.Rotation;
import dev.merapi.testkit.SmallIntegersContract;
import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** Small integers on the simulator: a few lines a day, for each is a kernel to compile. */
@Tag("kernels")
@ExtendWith(Simulator.class)
class CudaSmallIntegersTest extends SmallIntegersContract {
    private static final int PARTS = 24;

    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }

    @Override
    protected boolean tries(String line) {
        return Boolean.getBoolean("merapi.cuda.integers.full") || Rotation.isToday(line, PARTS);
    }
}
