// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.OpError;
import dev.merapi.tensor.Scope;
import java.util.function.Supplier;

/** Calls of several ops that are one thing to the user, without being an op. */
public final class Composition {
    private Composition() {}

    /**
     * Runs the calls: what they make on the way is closed, graphs live on, and what one of them refuses is said to come out
     * of the whole.
     *
     * @param name what the user called, as {@code merapi::median}
     * @param calls gives a tensor, or a list or record of tensors
     */
    public static <T> T of(String name, Supplier<T> calls) {
        try (Scope scope = TENSORS.openScope(Context.current())) {
            return scope.keep(calls.get());
        } catch (RuntimeException e) {
            throw OpError.in(name, e);
        }
    }
}
