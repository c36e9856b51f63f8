// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An op's record, name or declaration that cannot become a schema. */
public class SchemaException extends IllegalArgumentException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public SchemaException(String message) {
        this(Message.of(message));
    }

    public SchemaException(Message message) {
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
