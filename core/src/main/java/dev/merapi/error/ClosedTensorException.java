// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A tensor was used after it was closed, by its owner or by its scope. */
public class ClosedTensorException extends IllegalStateException {
    private static final long serialVersionUID = 1L;

    public ClosedTensorException(String message) {
        super(message);
    }

    public ClosedTensorException(Message message) {
        super(message.toString());
    }
}
