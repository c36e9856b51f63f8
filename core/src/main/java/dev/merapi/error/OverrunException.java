// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Guard mode found that something was written beside a tensor's memory. */
public final class OverrunException extends IllegalStateException {
    private static final long serialVersionUID = 1;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public OverrunException(String message) {
        super(message);
    }
}
