// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.testkit.BackendContract;
import dev.merapi.types.Device;
import org.junit.jupiter.api.BeforeAll;

/** Every row of the test kit on the simulator: the CUDA backend's kernels against float64 references. */
class CudaSimContractTest extends BackendContract {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }
}
