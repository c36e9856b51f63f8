// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Sizes, ranks, strides or indices that do not fit; the message has the numbers. */
public class ShapeException extends ArgumentError {
    private static final long serialVersionUID = 1L;
    private boolean beforeWriting;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public ShapeException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public ShapeException(Message message) {
        super(message);
    }

    /**
     * For kernels that find it in their data: they have not written anything yet. Returns this.
     *
     * @return this
     */
    public ShapeException beforeWriting() {
        beforeWriting = true;
        return this;
    }

    /** {@return whether an op that writes in place has left everything as it was} */
    public boolean isBeforeWriting() {
        return beforeWriting;
    }
}
