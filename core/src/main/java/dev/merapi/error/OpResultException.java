// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A kernel or shape rule returned something that the op did not declare. */
public class OpResultException extends IllegalStateException {
    private static final long serialVersionUID = 1L;

    public OpResultException(String message) {
        super(message);
    }

    public OpResultException(Message message) {
        super(message.toString());
    }
}
