// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A tensor was used after it was closed, by its owner or by its scope. */
public class ClosedTensorException extends IllegalStateException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public ClosedTensorException(String message) {
        this(Message.of(message));
    }

    public ClosedTensorException(Message message) {
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
