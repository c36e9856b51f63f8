// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** No kernel for this op on this device and dtype; the message lists those that exist. */
public class MissingKernelException extends UnsupportedError {
    private static final long serialVersionUID = 1L;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public MissingKernelException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public MissingKernelException(Message message) {
        super(message);
    }
}
