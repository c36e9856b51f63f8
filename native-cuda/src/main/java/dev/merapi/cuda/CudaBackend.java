// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.launch.CudaRuntime;
import dev.merapi.types.DeviceType;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** GPUs: device {@code cuda}. */
public final class CudaBackend extends KernelBackend {
    private final @Nullable Supplier<CudaRuntime> given;
    private @Nullable CudaRuntime runtime;
    private @Nullable RuntimeException failure;

    public CudaBackend() {
        this(DeviceType.CUDA, null);
    }

    /** On a runtime that is given, for tests. */
    CudaBackend(DeviceType type, @Nullable Supplier<CudaRuntime> given) {
        super(type);
        this.given = given;
    }

    @Override
    synchronized @Nullable CudaRuntime start() {
        if (runtime == null && failure == null) {
            try {
                runtime = given != null ? given.get() : Cuda.isAvailable() ? Cuda.open() : null;
            } catch (CudaException e) {
                failure = e;
            }
        }
        return runtime;
    }

    @Override
    public synchronized String description() {
        return runtime == null ? "CUDA" : runtime.description();
    }

    @Override
    public synchronized @Nullable Throwable unavailableBecause() {
        if (failure != null || given != null) {
            return failure;
        }
        String why = Cuda.unavailableBecause();
        return why == null ? null : new IllegalStateException(why);
    }
}
