// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;

/**
 * Self-attention with several heads: [B, T, width] → the same. Queries, keys and values come from one joint projection.
 *
 * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al. 2017, section 3.2</a>
 */
public final class MultiheadAttention extends Layer {
    private final int heads;
    private final boolean causal;
    private final Linear qkv;
    private final Linear projection;

    /**
     * @param width size of the last dimension, of input and output
     * @param heads how many parts the width is split into
     * @param causal whether a position sees only itself and those before it
     * @throws IllegalArgumentException if the heads do not divide the width
     */
    public MultiheadAttention(long width, long heads, boolean causal) {
        Init.atLeast(0, "MultiheadAttention", "width", width);
        if (heads < 1 || heads > Integer.MAX_VALUE || width % heads != 0) {
            throw new ShapeException(
                    Message.of("MultiheadAttention", heads + " heads do not divide a width of " + width)
                            .argument("heads"));
        }
        this.heads = Math.toIntExact(heads);
        this.causal = causal;
        qkv = child("qkv", new Linear(width, Sizes.multiply(3, width)));
        projection = child("projection", new Linear(width, width));
    }

    @Override
    public Tensor forward(Tensor x) {
        return projection.forward(SelfAttention.selfAttention(qkv.forward(x), heads, causal));
    }
}
