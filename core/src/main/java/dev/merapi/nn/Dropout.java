// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.Objects;

/**
 * In training, sets each element to 0 at probability p and scales the rest by 1/(1 − p); else changes nothing. Or it does so with
 * whole channels, as PyTorch's {@code Dropout1d} to {@code Dropout3d}.
 */
public final class Dropout extends Layer {
    private final double p;
    private final boolean channels;

    /**
     * @param p the probability with which an element becomes 0 in training; the others are divided by 1 − p
     * @throws IllegalArgumentException if p does not lie in [0, 1]
     */
    public Dropout(double p) {
        this(p, false);
    }

    private Dropout(double p, boolean channels) {
        if (!(p >= 0 && p <= 1)) {
            throw new IllegalArgumentException("dropout: probability " + p + " does not lie in [0, 1]");
        }
        this.p = p;
        this.channels = channels;
    }

    /**
     * Of whole channels: what becomes 0 are planes of x [N, C, ..].
     *
     * @param p the probability with which a channel of a sample becomes 0 in training; the others are divided by 1 − p
     * @return a new layer
     * @throws IllegalArgumentException if p does not lie in [0, 1]
     */
    public static Dropout ofChannels(double p) {
        return new Dropout(p, true);
    }

    @Override
    protected Tensor compute(Tensor x) {
        Objects.requireNonNull(x, "x");
        if (!channels || !isTraining()) {
            return x.dropout(p, isTraining());
        }
        if (x.rank() < 2) {
            throw new ShapeException(
                    Message.of("Dropout", "needs x [N, C, ..] to drop channels of, but this is " + x.describe()));
        }
        long[] shape = new long[x.rank()];
        Arrays.fill(shape, 1);
        shape[0] = x.size(0);
        shape[1] = x.size(1);
        return x.mul(Tensor.ones(Shape.of(shape), x.dtype(), x.device()).dropout(p, true));
    }
}
