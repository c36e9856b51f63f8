// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.Gpu;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.types.Device;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

@Tag("gpu")
@ExtendWith(Gpu.class)
class GpuSizesTest extends SizesContract {
    @Override
    Device device() {
        return Gpu.DEVICE;
    }

    @Override
    boolean isFull() {
        return true;
    }

    @Override
    @Nullable
    Blas blas() {
        return kernels().runtime().blas(0);
    }
}
