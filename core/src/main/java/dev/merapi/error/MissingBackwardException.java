// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A gradient would have to pass through an op that has no backward. */
public class MissingBackwardException extends UnsupportedOperationException {
    private static final long serialVersionUID = 1L;

    public MissingBackwardException(String message) {
        super(message);
    }

    public MissingBackwardException(Message message) {
        super(message.toString());
    }
}
