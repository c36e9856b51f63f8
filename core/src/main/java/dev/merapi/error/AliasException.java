// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An op's result shares memory, or is written, where it did not declare to. */
public class AliasException extends IllegalStateException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public AliasException(String message) {
        this(Message.of(message));
    }

    public AliasException(Message message) {
        super(message.toString());
        this.message = message;
    }

    @Override
    public Message details() {
        return message;
    }

    @Override
    public String getMessage() {
        return message.toString();
    }
}
