// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** An op's record, name or declaration that cannot become a schema. */
public class SchemaException extends ArgumentError {
    private static final long serialVersionUID = 1L;

    public SchemaException(String message) {
        this(Message.of(message));
    }

    public SchemaException(Message message) {
        super(message);
    }
}
