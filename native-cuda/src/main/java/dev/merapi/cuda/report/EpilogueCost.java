// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.report;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.backend.KernelBackend;
import dev.merapi.cuda.kernels.LinearGradients;
import dev.merapi.cuda.kernels.MatmulKernels;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.Epilogues.Epilogue;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.EnumSet;
import java.util.Set;

/**
 * What an {@link Epilogue} does in a training step, done as {@code Epilogues.used} says: in one product of the
 * library's, or in several kernels. For reports, which switch and measure.
 */
public final class EpilogueCost {
    /** Those that are used where this one is asked for: the sums within a GELU's gradient are no part of its own question. */
    public static Set<Epilogue> used(Epilogue asked) {
        return asked == Epilogue.DGELU
                ? EnumSet.complementOf(EnumSet.of(Epilogue.DGELU_BGRAD))
                : EnumSet.allOf(Epilogue.class);
    }

    /** The same without it. */
    public static Set<Epilogue> apart(Epilogue asked) {
        Set<Epilogue> others = used(asked);
        others.remove(asked);
        return others;
    }

    private EpilogueCost() {}

    /** Whether a library multiplies on a device: else there is nothing to choose. */
    public static boolean isAsked(Device device) {
        return BackendChoice.of(device.type()) instanceof KernelBackend backend
                && backend.runtime().blas(device.index()) != null;
    }

    /**
     * The call, in bfloat16, of a linear map of {@code rows} rows from {@code in} to {@code out} features. Operands live as
     * long as the scope that is open now, results as long as the one that is open then.
     *
     * @throws IllegalArgumentException if no kernels of ours run on the device
     */
    public static Runnable of(Device device, Epilogue asked, long rows, long in, long out) {
        if (!(BackendChoice.of(device.type()) instanceof KernelBackend backend)) {
            throw new IllegalArgumentException("epilogues: " + device + " has no kernels of CUDA's");
        }
        MatmulKernels kernels = new MatmulKernels(Kernels.of(backend));
        Tensor x = random(device, rows, in);
        Tensor y = random(device, rows, out);
        Tensor bias = random(device, out);
        switch (asked) {
            case BIAS:
                Tensor weight = random(device, out, in);
                return () -> LinearAlgebra.linear(x, weight, bias);
            case GELU:
                LinearAlgebra.Linear up = new LinearAlgebra.Linear(x, random(device, out, in), bias);
                return () -> kernels.activated(up, like(y), like(y));
            case DGELU:
                Tensor down = random(device, in, out);
                return () -> kernels.beforeActivation(x, down, y, like(bias), like(y));
            case DGELU_BGRAD:
                Tensor after = random(device, in, out);
                return () -> {
                    Tensor before = like(y);
                    if (!kernels.beforeActivation(x, after, y, like(bias), before)) {
                        before.sum(0);
                    }
                };
            default:
                return () -> LinearGradients.OP.call(new LinearGradients.Args(y, x));
        }
    }

    private static Tensor random(Device device, long... shape) {
        return Tensor.randn(Shape.of(shape), DType.BFLOAT16, device);
    }

    private static Tensor like(Tensor t) {
        return TENSORS.allocate(t.shape(), t.dtype(), t.device());
    }
}
