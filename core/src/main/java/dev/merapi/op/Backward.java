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
    /**
     * Gradients by argument name, one for each argument that is made of tensors; null where there is none.
     *
     * @param context which gradients this pass wants, and zeros for outputs without one
     * @param saved what the op saved
     * @param gradients in the form of the op's result; a tensor in it is null where no gradient came
     * @return each in the form of its argument, or one that sums to it
     */
    Grads apply(BackwardContext context, S saved, R gradients);

    /**
     * Runs once per recorded forward, never during backward.
     *
     * @param <S> what is saved
     * @param <A> the arguments
     * @param <R> the result
     */
    @FunctionalInterface
    interface Save<A, R, S extends @Nullable Object> {
        /**
         * What the formula will need. Runs after the op, without recording.
         *
         * @param args of the call
         * @param result of the call, internal outputs too
         * @return a tree of tensors and plain values, or null
         */
        S apply(A args, R result);
    }
}
