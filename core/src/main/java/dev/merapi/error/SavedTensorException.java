// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A saved tensor was changed, freed or may not be differentiated. */
public class SavedTensorException extends StateError {
    private static final long serialVersionUID = 1L;

    public SavedTensorException(String message) {
        this(Message.of(message));
    }

    public SavedTensorException(Message message) {
        super(message);
    }
}
