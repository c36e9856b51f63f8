// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A device's memory or cap is exhausted; the message holds the request, the cap and the largest live tensors. */
public class OutOfMemoryException extends RuntimeException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;
    private final long requestedBytes;
    private final long capBytes;

    public OutOfMemoryException(String message, long requestedBytes, long capBytes) {
        this(Message.of(message), requestedBytes, capBytes);
    }

    public OutOfMemoryException(Message message, long requestedBytes, long capBytes) {
        super(message.toString());
        this.message = message;
        this.requestedBytes = requestedBytes;
        this.capBytes = capBytes;
    }

    @Override
    public Message details() {
        return message;
    }

    @Override
    public String getMessage() {
        return message.toString();
    }

    public long requestedBytes() {
        return requestedBytes;
    }

    public long capBytes() {
        return capBytes;
    }
}
