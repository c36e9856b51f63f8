// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An element type that the operation does not take. */
public class DTypeException extends IllegalArgumentException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public DTypeException(String message) {
        this(Message.of(message));
    }

    public DTypeException(Message message) {
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
