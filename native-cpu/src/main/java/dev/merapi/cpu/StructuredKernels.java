// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.backend.KernelTable;
import dev.merapi.error.Message;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.ReadyKernel;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/** The native kernels of ops that are neither pointwise nor reductions. Ops that are not here run in plain Java. */
final class StructuredKernels {
    static final KernelTable TABLE = new KernelTable();

    static {
        MatmulKernels.register(TABLE);
        SoftmaxKernels.register(TABLE);
        PositionKernels.register(TABLE);
        IndexKernels.register(TABLE);
        RandomKernels.register(TABLE);
        NormKernels.register(TABLE);
        AttentionKernels.register(TABLE);
        ConvolutionKernels.register(TABLE);
        OptimizerKernels.register(TABLE);
    }

    private StructuredKernels() {}

    /** The kernel of an op for a dtype, or null. */
    static <A extends Record, R> @Nullable ReadyKernel<A, R> of(Definition<A, R> op, @Nullable DType dtype) {
        ReadyKernel<A, R> kernel = TABLE.get(op, dtype);
        return kernel instanceof Kernel<A, R> filling
                ? telling(op.name(), filling)
                : kernel instanceof Kernel.Returning<A, R> returning ? telling(op.name(), returning) : null;
    }

    private static <A, R> Kernel<A, R> telling(String op, Kernel<A, R> kernel) {
        return (args, out) -> {
            try {
                kernel.run(args, out);
            } catch (RuntimeException e) {
                throw told(op, e);
            }
        };
    }

    private static <A, R> Kernel.Returning<A, R> telling(String op, Kernel.Returning<A, R> kernel) {
        return args -> {
            try {
                return kernel.run(args);
            } catch (RuntimeException e) {
                throw told(op, e);
            }
        };
    }

    /** What C++ throws has no class of its own: it is always that there was no working memory. */
    private static RuntimeException told(String op, RuntimeException e) {
        if (e.getClass() != RuntimeException.class) {
            return e;
        }
        return new OutOfMemoryException(
                Message.of(op + ": " + e.getMessage())
                        .fix("close tensors that are no longer needed, or give the process more memory."),
                0,
                Native.memory_limit());
    }
}
