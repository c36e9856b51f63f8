// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A saved tensor was changed, freed or may not be differentiated. */
public class SavedTensorException extends IllegalStateException {
    private static final long serialVersionUID = 1L;

    public SavedTensorException(String message) {
        super(message);
    }

    public SavedTensorException(Message message) {
        super(message.toString());
    }
}
