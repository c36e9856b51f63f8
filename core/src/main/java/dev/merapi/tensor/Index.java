// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What stands between the brackets of {@code x[…]}, one place of it; with static imports
 * {@code x[..., 1:-1, ids, None]} is {@code x.index(ELLIPSIS, slice(1, -1), at(ids), NEW_AXIS)}.
 *
 * <p>Dimensions that no place speaks of stay as they are. Places without tensors make a view, in their order. Then tensors of
 * indices, which broadcast, choose all at once: what they choose stands where they stood, or in front if a place of another
 * kind that keeps a dimension lies between them. Numbers and slices count from the end when negative; slices are clamped.
 */
public final class Index {
    /** What a place does. */
    enum Kind {
        NUMBER,
        SLICE,
        TENSOR,
        NEW_AXIS,
        ELLIPSIS
    }

    /** The whole dimension, {@code :}. */
    public static final Index ALL = slice(0, Long.MAX_VALUE, 1);

    /** A new dimension of size 1, {@code None}. */
    public static final Index NEW_AXIS = new Index(Kind.NEW_AXIS, 0, 0, 0, null);

    /** All dimensions that no other place speaks of, {@code ...}; once at most. */
    public static final Index ELLIPSIS = new Index(Kind.ELLIPSIS, 0, 0, 0, null);

    final Kind kind;
    final long start;
    final long end;
    final long step;
    final @Nullable Tensor tensor;

    private Index(Kind kind, long start, long end, long step, @Nullable Tensor tensor) {
        this.kind = kind;
        this.start = start;
        this.end = end;
        this.step = step;
        this.tensor = tensor;
    }

    /**
     * {@code i}: drops the dimension.
     *
     * @param i negative from the end
     * @return the place
     */
    public static Index at(long i) {
        return new Index(Kind.NUMBER, i, 0, 0, null);
    }

    /**
     * Indices, or a mask.
     *
     * @param chosen int32 or int64 of any shape, negative from the end; 0-d is as a number. Or bool, of the sizes of as many
     *     dimensions as it has: these become one, of the elements where it holds, and the host waits for their number
     * @return the place
     */
    public static Index at(Tensor chosen) {
        return new Index(Kind.TENSOR, 0, 0, 0, Objects.requireNonNull(chosen, "chosen"));
    }

    /**
     * {@code start:end}.
     *
     * @param start the first index
     * @param end no index from here on
     * @return the place
     */
    public static Index slice(long start, long end) {
        return slice(start, end, 1);
    }

    /**
     * {@code start:end:step}.
     *
     * @param start the first index
     * @param end no index from here on
     * @param step at least 1; {@code flip} reverses
     * @return the place
     */
    public static Index slice(long start, long end, long step) {
        return new Index(Kind.SLICE, start, end, step, null);
    }

    /**
     * {@code start:}.
     *
     * @param start the first index
     * @return the place
     */
    public static Index from(long start) {
        return slice(start, Long.MAX_VALUE, 1);
    }

    /**
     * {@code :end}.
     *
     * @param end no index from here on
     * @return the place
     */
    public static Index upTo(long end) {
        return slice(0, end, 1);
    }

    /**
     * {@code ::step}.
     *
     * @param step at least 1
     * @return the place
     */
    public static Index every(long step) {
        return slice(0, Long.MAX_VALUE, step);
    }

    @Override
    public String toString() {
        return switch (kind) {
            case NUMBER -> String.valueOf(start);
            case SLICE -> start + ":" + (end == Long.MAX_VALUE ? "" : end) + (step == 1 ? "" : ":" + step);
            case TENSOR -> Objects.requireNonNull(tensor).describe();
            case NEW_AXIS -> "NEW_AXIS";
            case ELLIPSIS -> "...";
        };
    }
}
