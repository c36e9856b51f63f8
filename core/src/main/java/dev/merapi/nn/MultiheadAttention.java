// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;

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
     * @param causal whether a position sees only itself and those before it
     * @throws IllegalArgumentException if the heads do not divide the width
     */
    public MultiheadAttention(long width, long heads, boolean causal) {
        if (heads < 1 || width % heads != 0) {
            throw new IllegalArgumentException("attention: " + heads + " heads do not divide a width of " + width);
        }
        this.heads = Math.toIntExact(heads);
        this.causal = causal;
        qkv = child("qkv", new Linear(width, 3 * width));
        projection = child("projection", new Linear(width, width));
    }

    @Override
    public Tensor forward(Tensor x) {
        return projection.forward(SelfAttention.selfAttention(qkv.forward(x), heads, causal));
    }
}
