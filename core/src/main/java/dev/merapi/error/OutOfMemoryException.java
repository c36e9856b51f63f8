// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A device's memory or cap is exhausted; the message holds the request, the cap and the largest live tensors. */
public class OutOfMemoryException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final long requestedBytes;
    private final long capBytes;

    public OutOfMemoryException(String message, long requestedBytes, long capBytes) {
        super(message);
        this.requestedBytes = requestedBytes;
        this.capBytes = capBytes;
    }

    public long requestedBytes() {
        return requestedBytes;
    }

    public long capBytes() {
        return capBytes;
    }
}
