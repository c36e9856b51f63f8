// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Something that cannot be part of a captured graph: it waits for the device, or would not happen again at a replay. */
public class GraphCaptureException extends IllegalStateException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public GraphCaptureException(String message) {
        this(Message.of(message));
    }

    public GraphCaptureException(Message message) {
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
