// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A saved tensor was changed, freed or may not be differentiated. */
public class SavedTensorException extends StateError {
    private static final long serialVersionUID = 1L;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public SavedTensorException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public SavedTensorException(Message message) {
        super(message);
    }
}
