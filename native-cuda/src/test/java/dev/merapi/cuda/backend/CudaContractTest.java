// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Gpu;
import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** The contract on a GPU: kernels, references and tolerances are the simulator's. */
@Tag("gpu")
@ExtendWith(Gpu.class)
class CudaContractTest extends KernelContract {
    @Override
    protected Device device() {
        return Gpu.DEVICE;
    }
}
