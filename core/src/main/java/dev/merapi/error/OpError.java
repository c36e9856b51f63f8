// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

import org.jspecify.annotations.Nullable;

/**
 * What the exceptions of this package have in common: they know which op and which argument they are about.
 *
 * <p>Note [Names in errors]: a check need not know what op it is a part of. An error takes the name of each op that it
 * leaves, beginning with the one whose rule or kernel raised it: {@code merapi::stack: in merapi::cat: …}. So whatever an
 * op is made of, the first thing to be read is the op that was called.
 */
public interface OpError {
    /** {@return the text in its parts} */
    Message details();

    /** {@return the op that was called, as {@code merapi::add}, or the method; null if the error is about none} */
    default @Nullable String op() {
        return details().op();
    }

    /** {@return the argument at fault, as the op's schema calls it; null if it is not just one} */
    default @Nullable String argument() {
        return details().argument();
    }

    /**
     * The same exception, said to come out of {@code op}; one of another kind stays as it is.
     *
     * @param op such as {@code merapi::add}
     * @param e any exception
     * @return {@code e} itself
     */
    static RuntimeException in(String op, RuntimeException e) {
        if (e instanceof OpError error) {
            error.details().in(op);
        }
        return e;
    }
}
