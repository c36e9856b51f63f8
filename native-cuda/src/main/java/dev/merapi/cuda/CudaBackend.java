// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/** GPUs: device {@code cuda}. */
public final class CudaBackend extends KernelBackend {
    public CudaBackend() {
        super(DeviceType.CUDA);
    }

    @Override
    @Nullable
    CudaRuntime start() {
        return null;
    }

    @Override
    public String description() {
        return "CUDA";
    }

    @Override
    public @Nullable Throwable unavailableBecause() {
        String why = Cuda.unavailableBecause();
        return why == null ? null : new IllegalStateException(why);
    }
}
