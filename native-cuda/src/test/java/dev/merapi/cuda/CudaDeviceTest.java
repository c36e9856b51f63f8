// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.merapi.dispatch.Backends;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.storage.MemoryStats;
import dev.merapi.tensor.Memory;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@Tag("gpu")
@ExtendWith(Gpu.class)
class CudaDeviceTest extends DeviceContract {
    @Override
    Device device() {
        return Gpu.DEVICE;
    }

    @Override
    int scale() {
        return 1024;
    }

    /** The driver's own refusal, where no cap of ours comes first. */
    @Test
    void theEndOfTheDevicesMemoryIsAnExceptionAfterWhichWorkGoesOn() {
        MemoryStats before = Memory.stats(device());
        long bytes = 4
                * ((KernelBackend) Backends.of(DeviceType.CUDA))
                        .kernels()
                        .runtime()
                        .properties(0)
                        .memory();
        Tensor kept = Tensor.of(1f, 2f, 3f).to(device());
        Memory.setCap(device(), Long.MAX_VALUE);
        try {
            OutOfMemoryException e = assertThrows(
                    OutOfMemoryException.class, () -> Tensor.zeros(Shape.of(bytes), DType.UINT8, device()));
            assertEquals(bytes, e.requestedBytes());
            assertArrayEquals(new float[] {2, 4, 6}, kept.add(kept).toFloatArray());
        } finally {
            Memory.setCap(device(), before.cap());
        }
    }
}
