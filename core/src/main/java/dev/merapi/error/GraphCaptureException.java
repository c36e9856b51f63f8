// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Something that cannot be part of a captured graph: it waits for the device, or would not happen again at a replay. */
public class GraphCaptureException extends StateError {
    private static final long serialVersionUID = 1L;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public GraphCaptureException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public GraphCaptureException(Message message) {
        super(message);
    }
}
