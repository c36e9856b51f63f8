// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.ReadyKernel;
import dev.merapi.tensor.Scope;

/** A kernel in Java, whose temporaries are freed at its end. */
public final class ScopedKernel {
    private ScopedKernel() {}

    /** A kernel of an op in a scope of its own. */
    @SuppressWarnings("unchecked")
    public static <A extends Record, R> ReadyKernel<A, R> of(Definition<A, R> op, ReadyKernel<?, ?> kernel) {
        return kernel instanceof Kernel<?, ?>
                ? filling((Kernel<A, R>) kernel)
                : returning(op, (Kernel.Returning<A, R>) kernel);
    }

    private static <A, R> Kernel<A, R> filling(Kernel<A, R> body) {
        return (args, out) -> {
            try (Scope scope = TENSORS.openScope(Context.current())) {
                body.run(args, out);
            }
        };
    }

    private static <A extends Record, R> Kernel.Returning<A, R> returning(
            Definition<A, R> op, Kernel.Returning<A, R> body) {
        return args -> {
            try (Scope scope = TENSORS.openScope(Context.current())) {
                R result = body.run(args);
                scope.keep(op.result().tensors(op.name(), result));
                return result;
            }
        };
    }
}
