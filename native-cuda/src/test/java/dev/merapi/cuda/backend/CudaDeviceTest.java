// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.Gpu;
import dev.merapi.cuda.kernels.FusedFeedForward;
import dev.merapi.cuda.kernels.LinearGradients;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.Epilogues;
import dev.merapi.cuda.runtime.Epilogues.Epilogue;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.device.Memory;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.memory.MemoryStats;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

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

    /** cuBLASLt's fused products of a transformer's layers, if the library is there: else nobody would see that none runs. */
    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
    void theLibraryHasTheEpilogues(DType dtype) {
        Blas blas = ((KernelBackend) Backends.of(DeviceType.CUDA))
                .kernels()
                .runtime()
                .blas(0);
        assumeTrue(blas != null, "skipped: there is no cuBLASLt, or it is not wanted");
        Tensor x = Tensor.randn(64, 64).to(dtype).to(device());
        Tensor bias = Tensor.randn(64).to(dtype).to(device());
        Tensor inner = Tensor.zeros(64, 64).to(dtype).to(device());
        Tensor out = Tensor.zeros(64, 64).to(dtype).to(device());
        Tensor sums = Tensor.zeros(64).to(dtype).to(device());
        LinearAlgebra.Linear linear = new LinearAlgebra.Linear(x, x, bias);
        boolean activates = dtype != DType.FLOAT32;
        Set<Epilogue> before = Epilogues.use(EnumSet.allOf(Epilogue.class));
        try {
            assertTrue(blas.multiply(MatrixProduct.of(linear, out), false, 0), "bias");
            assertEquals(activates, blas.multiply(FusedFeedForward.activated(linear, inner, out), false, 0), "GELU");
            for (Tensor columns : new Tensor[] {null, sums}) {
                MatrixProduct gradient = FusedFeedForward.beforeActivation(x, x, inner, columns, out);
                assertEquals(activates, blas.multiply(gradient, false, 0), "its gradient");
            }
            MatrixProduct gradients =
                    LinearGradients.product(new LinearGradients.Args(x, x), new LinearGradients.Parameters(out, sums));
            assertTrue(blas.multiply(gradients, false, 0), "the bias's gradient");
        } finally {
            Epilogues.use(before);
        }
        synchronize();
    }
}
