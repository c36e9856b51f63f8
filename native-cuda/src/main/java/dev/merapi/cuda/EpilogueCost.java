// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.Epilogues.Epilogue;
import dev.merapi.dispatch.Backends;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;

/**
 * The part of a training step that an {@link Epilogue} is for, done as {@link Epilogues#used} says: in one product of the
 * library's, or in several kernels. For reports, which switch and measure.
 */
public final class EpilogueCost {
    private EpilogueCost() {}

    /** Whether a library multiplies on a device: else there is nothing to choose. */
    public static boolean isAsked(Device device) {
        return Backends.of(device.type()) instanceof KernelBackend backend
                && backend.kernels().runtime().blas(device.index()) != null;
    }

    /**
     * The call, in bfloat16, of a linear map of {@code rows} rows from {@code in} to {@code out} features. Operands live as
     * long as the scope that is open now, results as long as the one that is open then.
     *
     * @throws IllegalArgumentException if no kernels of ours run on the device
     */
    public static Runnable of(Device device, Epilogue epilogue, long rows, long in, long out) {
        if (!(Backends.of(device.type()) instanceof KernelBackend backend)) {
            throw new IllegalArgumentException("epilogues: " + device + " has no kernels of CUDA's");
        }
        MatmulKernels kernels = new MatmulKernels(backend.kernels());
        Tensor x = random(device, rows, in);
        Tensor y = random(device, rows, out);
        Tensor bias = random(device, out);
        switch (epilogue) {
            case BIAS:
                Tensor weight = random(device, out, in);
                return () -> LinearAlgebra.linear(x, weight, bias);
            case GELU:
                LinearAlgebra.Linear up = new LinearAlgebra.Linear(x, random(device, out, in), bias);
                return () -> kernels.activated(up, like(y), like(y));
            case DGELU:
                Tensor down = random(device, in, out);
                return () -> kernels.beforeActivation(x, down, y, like(bias), like(y));
            default:
                return () -> LinearGradients.OP.call(new LinearGradients.Args(y, x));
        }
    }

    private static Tensor random(Device device, long... shape) {
        return Tensor.randn(Shape.of(shape), DType.BFLOAT16, device);
    }

    private static Tensor like(Tensor t) {
        return Tensor.allocate(t.shape(), t.dtype(), t.device());
    }
}
