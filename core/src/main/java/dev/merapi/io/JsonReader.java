// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.util.ArrayList;
import java.util.List;

/**
 * As much of JSON as the header of a safetensors file has: objects, strings, integers from 0 up, lists of those. Strict:
 * anything else is an error with its position. Nothing nests on the stack, so depth cannot overflow it.
 */
final class JsonReader extends TextCursor {
    JsonReader(String text) {
        super(text);
    }

    /** Takes a member of an object: its value begins where the reader stands, and must be consumed. */
    @FunctionalInterface
    interface Member {
        void read(String key) throws FormatException;
    }

    /** Reads {@code { "key": value, … }}. */
    void object(Member member) throws FormatException {
        expect('{');
        if (take('}')) {
            return;
        }
        do {
            String key = string();
            expect(':');
            member.read(key);
        } while (take(','));
        expect('}');
    }

    /** Reads {@code [1, 2, …]}, at most so many: the list must not outgrow what anybody could want of it. */
    long[] integers(int most) throws FormatException {
        expect('[');
        if (take(']')) {
            return new long[0];
        }
        List<Long> values = new ArrayList<>();
        do {
            if (values.size() == most) {
                throw error("a list of more than " + most + " integers");
            }
            values.add(integer());
        } while (take(','));
        expect(']');
        return values.stream().mapToLong(Long::longValue).toArray();
    }

    private long integer() throws FormatException {
        String digits = digits();
        if (digits.isEmpty() || digits.startsWith("0") && digits.length() > 1) {
            throw error("expected an integer from 0 up");
        }
        try {
            return Long.parseLong(digits);
        } catch (NumberFormatException e) {
            throw error("the integer that begins at " + (at - digits.length()) + " exceeds 2^63 - 1");
        }
    }

    String string() throws FormatException {
        expect('"');
        StringBuilder s = new StringBuilder();
        while (true) {
            if (at == text.length()) {
                throw error("a string does not end");
            }
            char c = text.charAt(at++);
            if (c == '"') {
                return s.toString();
            } else if (c == '\\') {
                s.append(escape());
            } else if (c < ' ') {
                throw error("a control character in a string");
            } else {
                s.append(c);
            }
        }
    }

    private char escape() throws FormatException {
        char c = at < text.length() ? text.charAt(at++) : 0;
        return switch (c) {
            case '"', '\\', '/' -> c;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> unicode();
            default -> throw error("an escape that JSON does not have");
        };
    }

    private char unicode() throws FormatException {
        int value = 0;
        for (int i = 0; i < 4; i++) {
            int digit = at < text.length() ? hexDigit(text.charAt(at)) : -1;
            if (digit < 0) {
                throw error("expected four hexadecimal digits");
            }
            value = value << 4 | digit;
            at++;
        }
        return (char) value;
    }

    private static int hexDigit(char c) {
        return c < 128 ? Character.digit(c, 16) : -1;
    }

    /** Nothing but space may follow. */
    void end() throws FormatException {
        skipSpace();
        if (at < text.length()) {
            throw error("text after the end");
        }
    }

    @Override
    FormatException error(String what) {
        return new FormatException("header, character " + at + ": " + what);
    }

    /** Appends a string in quotes; everything beyond ASCII stays as it is. */
    static void quote(String s, StringBuilder out) {
        out.append('"');
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
