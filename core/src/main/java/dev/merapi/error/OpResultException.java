// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A kernel or shape rule returned something that the op did not declare. */
public class OpResultException extends StateError {
    private static final long serialVersionUID = 1L;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public OpResultException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public OpResultException(Message message) {
        super(message);
    }
}
