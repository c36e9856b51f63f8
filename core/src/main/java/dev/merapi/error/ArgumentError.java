// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An {@link OpError} about what was passed. */
abstract class ArgumentError extends IllegalArgumentException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    ArgumentError(Message message) {
        super(message.toString());
        this.message = message;
    }

    @Override
    public final Message details() {
        return message;
    }

    /** As the message is now: it grows by the names of the ops that the error leaves. */
    @Override
    public final String getMessage() {
        return message.toString();
    }
}
