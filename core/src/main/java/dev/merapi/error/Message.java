// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

import org.jspecify.annotations.Nullable;

/**
 * The one shape of an error text: what is wrong with the numbers, then the facts, one a line, then a fix that would
 * work here. Built only when something is about to be thrown.
 */
public final class Message {
    private final StringBuilder text;

    private Message(String headline) {
        text = new StringBuilder(headline);
    }

    /** Starts with {@code op: what is wrong}. */
    public static Message of(String headline) {
        return new Message(headline);
    }

    /** Adds a line {@code name: value}. */
    public Message fact(String name, @Nullable Object value) {
        text.append("\n  ").append(name).append(": ").append(value);
        return this;
    }

    /** Adds the line that says what to do. */
    public Message fix(String advice) {
        return fact("fix", advice);
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
