// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Sizes, ranks, strides or indices that do not fit; the message has the numbers. */
public class ShapeException extends IllegalArgumentException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public ShapeException(String message) {
        this(Message.of(message));
    }

    public ShapeException(Message message) {
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
