// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A backward formula or hook returned something that is not a valid gradient, or backward was called where it cannot work. */
public class GradientException extends StateError {
    private static final long serialVersionUID = 1L;

    public GradientException(String message) {
        this(Message.of(message));
    }

    public GradientException(Message message) {
        super(message);
    }
}
