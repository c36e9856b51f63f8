// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.types.Device;
import org.junit.jupiter.api.extension.ExtendWith;

/** The contract on the simulator: the kernels of a GPU, compiled for the host. */
@ExtendWith(Simulator.class)
class CudaSimContractTest extends KernelContract {
    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }

    @Override
    protected int parts() {
        return 6; // a multiple of FakeGpuContractTest's: what both run is compiled once
    }
}
