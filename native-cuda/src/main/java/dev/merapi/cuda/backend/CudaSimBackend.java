// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.sim.SimulatedCuda;
import dev.merapi.types.DeviceType;

/** The simulator: device {@code cuda-sim:0}, on any machine with a C++ compiler. */
public final class CudaSimBackend extends KernelBackend {
    public CudaSimBackend() {
        super(DeviceType.CUDA_SIM, "CUDA simulator");
    }

    @Override
    protected CudaRuntime open() {
        CudaNative.driver_version(); // the native library is there
        SimulatedCuda runtime = SimulatedCuda.create();
        if (runtime == null) {
            throw new IllegalStateException(
                    "no C++ compiler: neither g++ nor clang++ is on the PATH; install one, or set CXX");
        }
        return runtime;
    }
}
