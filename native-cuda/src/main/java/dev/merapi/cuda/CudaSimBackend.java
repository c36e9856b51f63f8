// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.driver.CudaNative;
import dev.merapi.cuda.launch.CudaRuntime;
import dev.merapi.cuda.sim.SimulatedCuda;
import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/** The simulator: device {@code cuda-sim:0}, on any machine with a C++ compiler. */
public final class CudaSimBackend extends KernelBackend {
    private @Nullable SimulatedCuda runtime;
    private @Nullable Throwable reason;
    private boolean tried;

    public CudaSimBackend() {
        super(DeviceType.CUDA_SIM);
    }

    @Override
    synchronized @Nullable CudaRuntime start() {
        if (!tried) {
            tried = true;
            try {
                CudaNative.driver_version(); // the native library is there
                runtime = SimulatedCuda.create();
                if (runtime == null) {
                    reason = new IllegalStateException(
                            "no C++ compiler: neither g++ nor clang++ is on the PATH;" + " install one, or set CXX");
                }
            } catch (LinkageError | RuntimeException e) {
                reason = e;
            }
        }
        return runtime;
    }

    @Override
    public String description() {
        return runtime == null ? "CUDA simulator" : runtime.description();
    }

    @Override
    public @Nullable Throwable unavailableBecause() {
        start();
        return reason;
    }
}
