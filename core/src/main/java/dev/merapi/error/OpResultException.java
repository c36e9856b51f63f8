// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A kernel or shape rule returned something that the op did not declare. */
public class OpResultException extends IllegalStateException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public OpResultException(String message) {
        this(Message.of(message));
    }

    public OpResultException(Message message) {
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
