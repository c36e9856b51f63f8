// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A device's memory or cap is exhausted; the message holds the request, the cap and the largest live tensors. */
public class OutOfMemoryException extends RuntimeException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;
    private final long requestedBytes;
    private final long capBytes;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers
     * @param requestedBytes what was asked for
     * @param capBytes what may be reserved at most
     */
    public OutOfMemoryException(String message, long requestedBytes, long capBytes) {
        this(Message.of(message), requestedBytes, capBytes);
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix
     * @param requestedBytes what was asked for
     * @param capBytes what may be reserved at most
     */
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

    /** {@return how many bytes were asked for} */
    public long requestedBytes() {
        return requestedBytes;
    }

    /** {@return how many bytes may be reserved at most} */
    public long capBytes() {
        return capBytes;
    }
}
