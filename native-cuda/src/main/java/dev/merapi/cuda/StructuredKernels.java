// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.types.DType;
import java.util.List;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/** The kernels of ops that are neither pointwise nor reductions, by the op's name. */
final class StructuredKernels {
    private static final List<BiFunction<String, Kernels, @Nullable Object>> ANY_DTYPE = List.of(
            MatmulKernels::kernel,
            IndexKernels::kernel,
            OrderingKernels::kernel,
            CreationKernels::kernel,
            ScanKernels::kernel,
            RandomKernels::kernel);
    private static final List<BiFunction<String, Kernels, @Nullable Object>> FLOATING =
            List.of(RowKernels::kernel, OptimizerKernels::kernel, ImageKernels::kernel, AttentionKernels::kernel);

    private StructuredKernels() {}

    /** A {@code Kernel} or {@code Kernel.Returning}; null if there is none. */
    static @Nullable Object of(String op, @Nullable DType dtype, Kernels kernels) {
        Object kernel = first(ANY_DTYPE, op, kernels);
        return kernel == null && dtype != null && dtype.isFloating() ? first(FLOATING, op, kernels) : kernel;
    }

    private static @Nullable Object first(
            List<BiFunction<String, Kernels, @Nullable Object>> families, String op, Kernels kernels) {
        for (BiFunction<String, Kernels, @Nullable Object> family : families) {
            Object kernel = family.apply(op, kernels);
            if (kernel != null) {
                return kernel;
            }
        }
        return null;
    }
}
