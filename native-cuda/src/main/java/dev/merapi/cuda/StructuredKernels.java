// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.util.List;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/** The kernels of ops that are neither pointwise nor reductions, by the op's name. */
final class StructuredKernels {
    private static final List<BiFunction<String, Kernels, @Nullable Object>> FAMILIES = List.of(
            MatmulKernels::kernel,
            RowKernels::kernel,
            IndexKernels::kernel,
            CreationKernels::kernel,
            RandomKernels::kernel,
            OptimizerKernels::kernel,
            ImageKernels::kernel,
            AttentionKernels::kernel);

    private StructuredKernels() {}

    /** A {@code Kernel} or {@code Kernel.Returning}; null if there is none. */
    static @Nullable Object of(String op, Kernels kernels) {
        for (BiFunction<String, Kernels, @Nullable Object> family : FAMILIES) {
            Object kernel = family.apply(op, kernels);
            if (kernel != null) {
                return kernel;
            }
        }
        return null;
    }
}
