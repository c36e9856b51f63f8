// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;

/** Two linear maps with a GELU (its tanh approximation) between them: [*, width] → [*, hidden] → [*, width]. */
public final class FeedForward extends Layer {
    private final Linear up;
    private final Linear down;

    /**
     * Draws the weights as {@link Linear} does.
     *
     * @param width size of the last dimension, of input and output
     * @param hidden size between the two products
     */
    public FeedForward(long width, long hidden) {
        Init.atLeast(0, "FeedForward", "width", width);
        Init.atLeast(0, "FeedForward", "hidden", hidden);
        up = child("up", new Linear(width, hidden));
        down = child("down", new Linear(hidden, width));
    }

    @Override
    protected Tensor compute(Tensor x) {
        return dev.merapi.ops.FeedForwardOp.feedForward(
                x, up.weight(), Objects.requireNonNull(up.bias()), down.weight(), Objects.requireNonNull(down.bias()));
    }
}
