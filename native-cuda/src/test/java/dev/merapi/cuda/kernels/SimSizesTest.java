// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeCublasLt;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;

/** So that the tests of {@link GpuSizesTest} are tested themselves; the library is one of loops on the host. */
class SimSizesTest extends SizesContract {
    private static @Nullable Blas library;

    @BeforeAll
    static void simulator() throws IOException, InterruptedException {
        Simulator.require();
        library = FakeCublasLt.blas();
    }

    @Override
    Device device() {
        return Device.of(DeviceType.CUDA_SIM, 0);
    }

    @Override
    boolean isFull() {
        return false;
    }

    @Override
    @Nullable
    Blas blas() {
        return library;
    }
}
