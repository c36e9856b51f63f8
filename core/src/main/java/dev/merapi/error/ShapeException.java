// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Sizes, ranks, strides or indices that do not fit; the message has the numbers. */
public class ShapeException extends ArgumentError {
    private static final long serialVersionUID = 1L;
    private boolean beforeWriting;

    public ShapeException(String message) {
        this(Message.of(message));
    }

    public ShapeException(Message message) {
        super(message);
    }

    /** For kernels that find it in their data: they have not written anything yet. Returns this. */
    public ShapeException beforeWriting() {
        beforeWriting = true;
        return this;
    }

    /** Whether an op that writes in place has left everything as it was. */
    public boolean isBeforeWriting() {
        return beforeWriting;
    }
}
