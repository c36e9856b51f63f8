// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Something that cannot be part of a captured graph: it waits for the device, or would not happen again at a replay. */
public class GraphCaptureException extends StateError {
    private static final long serialVersionUID = 1L;

    public GraphCaptureException(String message) {
        this(Message.of(message));
    }

    public GraphCaptureException(Message message) {
        super(message);
    }
}
