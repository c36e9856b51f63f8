// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

/** A place in a header's text, for readers that take it one sign after the other; space does not count. */
abstract class TextCursor {
    final String text;
    int at;

    TextCursor(String text) {
        this.text = text;
    }

    /** What is wrong where the cursor stands. */
    abstract FormatException error(String what);

    final boolean isAt(char c) {
        return at < text.length() && text.charAt(at) == c;
    }

    final void expect(char c) throws FormatException {
        if (!take(c)) {
            throw error("expected '" + c + "'");
        }
    }

    /** Goes on if that is what comes next. */
    final boolean take(char c) {
        skipSpace();
        if (!isAt(c)) {
            return false;
        }
        at++;
        return true;
    }

    final void skipSpace() {
        while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    /** The digits that come next, perhaps none. */
    final String digits() {
        skipSpace();
        int start = at;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        return text.substring(start, at);
    }
}
