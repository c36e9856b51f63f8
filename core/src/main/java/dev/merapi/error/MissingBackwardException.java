// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A gradient would have to pass through an op that has no backward. */
public class MissingBackwardException extends UnsupportedError {
    private static final long serialVersionUID = 1L;

    public MissingBackwardException(String message) {
        this(Message.of(message));
    }

    public MissingBackwardException(Message message) {
        super(message);
    }
}
