// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.DerivativeContract;
import dev.merapi.testkit.Rotation;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** A few ops a day: each is half a dozen kernels to compile. */
@Tag("kernels")
@ExtendWith(Simulator.class)
class CudaDerivativeTest extends DerivativeContract {
    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }

    @Override
    protected List<DType> dtypes() {
        return Rotation.slice("derivatives on the simulator", super.dtypes(), 3);
    }

    @Override
    protected boolean chosen(String name) {
        return Rotation.isToday(name, 7);
    }
}
