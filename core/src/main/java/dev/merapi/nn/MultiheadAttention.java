// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;
import org.jspecify.annotations.Nullable;

/**
 * Attention with several heads: of a sequence with itself, [B, T, width] → the same, with another one, or with what a
 * {@link KeyValueCache} has. Queries, keys and values come from one joint projection, whose weight has their rows in this
 * order.
 *
 * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al. 2017, section 3.2</a>
 */
public final class MultiheadAttention extends Layer {
    private final int heads;
    private final long shared;
    private final long width;
    private final boolean causal;
    private final double dropout;
    private final Linear qkv;
    private final Linear projection;

    /**
     * @param width size of the last dimension, of input and output
     * @param heads how many parts the width is split into
     * @param causal whether a position sees only itself and those before it
     * @throws IllegalArgumentException if the heads do not divide the width
     */
    public MultiheadAttention(long width, long heads, boolean causal) {
        this(width, heads, heads, causal, 0);
    }

    /**
     * @param width size of the last dimension, of input and output
     * @param heads how many parts the width is split into
     * @param keyValueHeads heads of keys and values, which divide those of queries: several share one
     * @param causal whether a position sees only itself and those before it
     * @param dropout the probability at which a weight is dropped in training
     * @throws IllegalArgumentException if the heads do not divide the width, or each other
     */
    public MultiheadAttention(long width, long heads, long keyValueHeads, boolean causal, double dropout) {
        Init.atLeast(0, "MultiheadAttention", "width", width);
        if (heads < 1 || heads > Integer.MAX_VALUE || width % heads != 0) {
            throw new ShapeException(
                    Message.of("MultiheadAttention", heads + " heads do not divide a width of " + width)
                            .argument("heads"));
        }
        if (keyValueHeads < 1 || heads % keyValueHeads != 0) {
            throw new ShapeException(Message.of(
                            "MultiheadAttention",
                            keyValueHeads + " heads of keys and values do not divide " + heads + " heads")
                    .argument("keyValueHeads"));
        }
        if (!(dropout >= 0 && dropout <= 1)) {
            throw new IllegalArgumentException(
                    "MultiheadAttention: dropout " + dropout + " does not lie in [0, 1]\n  fix: pass a probability.");
        }
        this.heads = Math.toIntExact(heads);
        this.shared = keyValueHeads;
        this.width = width;
        this.causal = causal;
        this.dropout = dropout;
        long joint = Sizes.add(width, Sizes.multiply(2 * keyValueHeads, width / heads));
        qkv = child("qkv", new Linear(width, joint));
        projection = child("projection", new Linear(width, width));
    }

    @Override
    public Tensor forward(Tensor x) {
        return forward(x, (Tensor) null);
    }

    /**
     * {@return [B, T, width], the shape of {@code x}}
     *
     * @param x [B, T, width]
     * @param mask what broadcasts to [B, heads, T, T]: bool, true where a position sees another one, or of x's dtype and
     *     added
     *     to the scores; or null
     */
    public Tensor forward(Tensor x, @Nullable Tensor mask) {
        if (mask == null && shared == heads && (dropout == 0 || !isTraining())) {
            return projection.forward(SelfAttention.selfAttention(qkv.forward(x), heads, causal));
        }
        Tensor joint = qkv.forward(x);
        return attended(part(joint, 0), part(joint, 1), part(joint, 2), mask);
    }

    /**
     * What positions of x see of another sequence.
     *
     * @param x [B, T, width]
     * @param other [B, S, width], of which keys and values are made
     * @param mask what broadcasts to [B, heads, T, S], as above, or null
     * @return [B, T, width], the shape of {@code x}
     */
    public Tensor forward(Tensor x, Tensor other, @Nullable Tensor mask) {
        long all = qkv.weight().size(0);
        Tensor q = project(x, 0, width);
        Tensor kv = project(other, width, all);
        long half = (all - width) / 2;
        return attended(
                byHead(q, heads),
                byHead(kv.slice(-1, 0, half), shared),
                byHead(kv.slice(-1, half, 2 * half), shared),
                mask);
    }

    /**
     * The next positions of sequences that the cache has the beginning of; they are in it afterwards. Without gradients.
     *
     * @param x [B, T, width]
     * @param cache takes the keys and values of {@code x}
     * @return [B, T, width], the shape of {@code x}
     * @throws ShapeException if the layer is not causal, or the cache is too small
     */
    public Tensor forward(Tensor x, KeyValueCache cache) {
        if (!causal) {
            throw new ShapeException("MultiheadAttention: positions that are there already cannot see those to come"
                    + "\n  fix: use a cache with causal layers only.");
        }
        Tensor joint = qkv.forward(x);
        return joined(cache.attend(part(joint, 0), part(joint, 1), part(joint, 2)));
    }

    /**
     * An empty cache for this layer, of its dtype and on its device.
     *
     * @param batch sequences at once
     * @param capacity positions that there is room for
     * @return an empty cache, to be closed
     */
    public KeyValueCache cache(long batch, long capacity) {
        Tensor weight = qkv.weight();
        return new KeyValueCache(batch, shared, capacity, width / heads, weight.dtype(), weight.device());
    }

    private Tensor attended(Tensor q, Tensor k, Tensor v, @Nullable Tensor mask) {
        Attention.Options options = Attention.options().mask(mask).causal(causal);
        return joined(Attention.attention(q, k, v, isTraining() ? options.dropout(dropout) : options));
    }

    private Tensor project(Tensor x, long from, long to) {
        Tensor bias = qkv.bias();
        return LinearAlgebra.linear(x, qkv.weight().slice(0, from, to), bias == null ? null : bias.slice(0, from, to));
    }

    /** Queries, keys or values of a joint projection, [B, heads, T, D]. */
    private Tensor part(Tensor joint, int n) {
        long each = shared * (width / heads);
        long from = n == 0 ? 0 : width + (n - 1) * each;
        return byHead(joint.slice(-1, from, from + (n == 0 ? width : each)), n == 0 ? heads : shared);
    }

    /** [B, T, H·D] → [B, H, T, D], a view. */
    private static Tensor byHead(Tensor x, long heads) {
        return x.view(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);
    }

    /** [B, H, T, D] → [B, T, H·D], projected. */
    private Tensor joined(Tensor x) {
        return projection.forward(x.transpose(1, 2).reshape(x.size(0), x.size(2), width));
    }
}
