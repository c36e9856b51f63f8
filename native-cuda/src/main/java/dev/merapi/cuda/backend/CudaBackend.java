// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.driver.InstalledDriver;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/** GPUs of NVIDIA: device {@code cuda}. */
public final class CudaBackend extends KernelBackend {
    public CudaBackend() {
        super(DeviceType.CUDA, "CUDA");
    }

    @Override
    protected CudaRuntime open() {
        return InstalledDriver.open();
    }

    /** Does not begin the driver to find out. */
    @Override
    public @Nullable Throwable unavailableBecause() {
        Throwable known = failure();
        String why = known == null ? InstalledDriver.unavailableBecause() : null;
        return why == null ? known : new IllegalStateException(why);
    }
}
