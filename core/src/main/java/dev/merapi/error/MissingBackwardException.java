// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A gradient would have to pass through an op that has no backward. */
public class MissingBackwardException extends UnsupportedOperationException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public MissingBackwardException(String message) {
        this(Message.of(message));
    }

    public MissingBackwardException(Message message) {
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
