// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A tensor was used after it was closed, by its owner or by its scope. */
public class ClosedTensorException extends StateError {
    private static final long serialVersionUID = 1L;

    public ClosedTensorException(String message) {
        this(Message.of(message));
    }

    public ClosedTensorException(Message message) {
        super(message);
    }
}
