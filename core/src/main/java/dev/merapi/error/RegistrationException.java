// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A second definition or registration where only one may stand, with both source locations. */
public class RegistrationException extends IllegalStateException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public RegistrationException(String message) {
        this(Message.of(message));
    }

    public RegistrationException(Message message) {
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
