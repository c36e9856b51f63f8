// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An element type that the operation does not take. */
public class DTypeException extends ArgumentError {
    private static final long serialVersionUID = 1L;

    public DTypeException(String message) {
        this(Message.of(message));
    }

    public DTypeException(Message message) {
        super(message);
    }
}
