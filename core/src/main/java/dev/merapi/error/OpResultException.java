// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A kernel or shape rule returned something that the op did not declare. */
public class OpResultException extends StateError {
    private static final long serialVersionUID = 1L;

    public OpResultException(String message) {
        this(Message.of(message));
    }

    public OpResultException(Message message) {
        super(message);
    }
}
