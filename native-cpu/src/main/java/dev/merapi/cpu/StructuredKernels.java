// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.op.Kernel;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Which native kernel serves which structured op, by name. */
final class StructuredKernels {
    private static final Map<String, Object> FLOATING = new HashMap<>();
    private static final Map<String, Object> ANY = new HashMap<>();

    static {
        floating("merapi::matmul", (LinearAlgebra.Matmul a, Tensor out) -> MatmulKernels.matmul(a, out));
        floating("merapi::linear", (LinearAlgebra.Linear a, Tensor out) -> MatmulKernels.linear(a, out));
    }

    private StructuredKernels() {}

    private static <A, R> void floating(String op, Kernel<A, R> kernel) {
        FLOATING.put(op, kernel);
    }

    private static <A, R> void any(String op, Kernel<A, R> kernel) {
        ANY.put(op, kernel);
    }

    /** The kernel of an op for results of a dtype, or null. */
    static @Nullable Object of(String op, @Nullable DType dtype) {
        Object kernel = ANY.get(op);
        return kernel != null || dtype == null || !dtype.isFloating() ? kernel : FLOATING.get(op);
    }
}
