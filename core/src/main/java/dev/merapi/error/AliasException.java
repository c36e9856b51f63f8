// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An op's result shares memory, or is written, where it did not declare to. */
public class AliasException extends StateError {
    private static final long serialVersionUID = 1L;

    public AliasException(String message) {
        this(Message.of(message));
    }

    public AliasException(Message message) {
        super(message);
    }
}
