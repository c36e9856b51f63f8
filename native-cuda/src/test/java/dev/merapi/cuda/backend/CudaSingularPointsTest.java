// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.Rotation;
import dev.merapi.testkit.SingularPointsContract;
import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** A few functions a day, as {@link CudaDerivativeTest}. */
@Tag("kernels")
@ExtendWith(Simulator.class)
class CudaSingularPointsTest extends SingularPointsContract {
    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }

    @Override
    protected boolean chosen(String what) {
        return Rotation.isToday(what, 7);
    }
}
