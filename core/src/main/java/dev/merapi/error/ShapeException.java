// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Sizes, ranks, strides or indices that do not fit; the message has the numbers. */
public class ShapeException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    public ShapeException(String message) {
        super(message);
    }

    public ShapeException(Message message) {
        super(message.toString());
    }
}
