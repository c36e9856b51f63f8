// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A tensor was used after it was closed, by its owner or by its scope. */
public class ClosedTensorException extends StateError {
    private static final long serialVersionUID = 1L;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public ClosedTensorException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public ClosedTensorException(Message message) {
        super(message);
    }
}
