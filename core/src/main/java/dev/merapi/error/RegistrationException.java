// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A second definition or registration where only one may stand, with both source locations. */
public class RegistrationException extends StateError {
    private static final long serialVersionUID = 1L;

    public RegistrationException(String message) {
        this(Message.of(message));
    }

    public RegistrationException(Message message) {
        super(message);
    }
}
