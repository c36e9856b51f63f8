// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import org.jspecify.annotations.Nullable;

/**
 * The gradient formula of an op, and what it needs to remember.
 *
 * @param <S> what is saved: any tree of tensors, records, lists, maps and plain values
 * @param <R> the op's result; gradients arrive in the same form, a tensor that got none being null
 */
@FunctionalInterface
public non-sealed interface Backward<S extends @Nullable Object, R> extends BackwardPiece {
    /** Gradients by argument name, one for each argument that is made of tensors; null where there is none. */
    Grads apply(BackwardContext context, S saved, R gradients);

    /** Runs once per recorded forward, never during backward. */
    @FunctionalInterface
    interface Save<A, R, S extends @Nullable Object> {
        S apply(A args, R result);
    }
}
