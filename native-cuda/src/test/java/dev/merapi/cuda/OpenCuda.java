// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.backend.Backends;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.Arrays;

/** What a program sees of CUDA on the machine that it finds; {@link CudaOpenTest} makes the machines. */
final class OpenCuda {
    static final String SOURCE =
            "extern \"C\" __global__ void marked(const float* x, float* out) { out[threadIdx.x] = x[threadIdx.x] + 0.5f; }\n";

    private OpenCuda() {}

    record Mark(Tensor x) {}

    public static void main(String[] args) {
        System.out.println("available: " + Cuda.isAvailable());
        System.out.println("because: " + Cuda.unavailableBecause());
        System.out.println("devices: " + Cuda.driverDevices() + ", version " + Cuda.driverVersion());
        Op<Mark, Tensor> op = Op.define(MethodHandles.lookup(), "demo::mark", Mark.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(
                        DeviceType.CUDA,
                        CudaKernel.source("marked", SOURCE)
                                .arguments("x", "out")
                                .launch(new CudaKernel.Rows(32)))
                .nonDifferentiable();
        try {
            Tensor y = op.call(new Mark(Tensor.ones(1, 32).to(Device.of("cuda"))));
            System.out.println("description: " + Backends.of(DeviceType.CUDA).description());
            System.out.println("result: " + Arrays.toString(y.toFloatArray()));
        } catch (RuntimeException e) {
            System.out.println("refused: " + e.getClass().getSimpleName() + ": " + e.getMessage());
        }
    }
}
