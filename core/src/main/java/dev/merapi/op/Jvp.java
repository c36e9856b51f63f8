// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import org.jspecify.annotations.Nullable;

/**
 * The forward-mode rule of an op: the Jacobian of its result times tangents of its arguments, written with other ops.
 *
 * @param <A> the arguments
 * @param <R> the op's result; tangents are given in the same form
 */
@FunctionalInterface
public interface Jvp<A extends Record, R> {
    /** What to do instead of drawing within an op. */
    String DRAW_OUTSIDE = "draw the numbers outside, and give them to an op as an argument.";

    /**
     * Runs after the op, when at least one argument has a tangent.
     *
     * @param args of the call
     * @param result of the op for these arguments, internal outputs too
     * @param tangents of its tensor arguments
     * @return the tangents in the form of the result, each of the shape, dtype and device of its output; null for zero, as
     *     for outputs that are not floating
     */
    @Nullable
    R apply(A args, R result, Tangents<A> tangents);

    /**
     * The rule of an op that forward mode refuses, by its name.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param why after "has no forward mode:"
     * @param fix what to do instead
     * @return a rule that is never applied
     */
    static <A extends Record, R> Jvp<A, R> refused(String why, String fix) {
        return new Refused<>(why, fix);
    }

    /**
     * See {@link #refused}.
     *
     * @param <R> the result
     * @param <A> the arguments
     * @param why after "has no forward mode:"
     * @param fix what to do instead
     */
    record Refused<A extends Record, R>(String why, String fix) implements Jvp<A, R> {
        @Override
        public @Nullable R apply(A args, R result, Tangents<A> tangents) {
            return null; // refused before
        }
    }
}
