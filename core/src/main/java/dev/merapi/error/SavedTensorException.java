// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A saved tensor was changed, freed or may not be differentiated. */
public class SavedTensorException extends IllegalStateException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public SavedTensorException(String message) {
        this(Message.of(message));
    }

    public SavedTensorException(Message message) {
        super(message.toString());
        this.message = message;
    }

    @Override
    public Message details() {
        return message;
    }

    @Override
    public String getMessage() {
        return message.toString();
    }
}
