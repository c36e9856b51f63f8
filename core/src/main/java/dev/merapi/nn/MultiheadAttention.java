// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Attention with several heads: of a sequence with itself, [B, T, width] → the same, with another one, or with what a
 * {@link KeyValueCache} has. Queries, keys and values come from one joint projection, whose weight has their rows in this
 * order. Parameters have the names and first values of PyTorch's {@code nn.MultiheadAttention}; the batch comes first.
 *
 * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al. 2017, section 3.2</a>
 */
public final class MultiheadAttention extends Layer {
    private final int heads;
    private final long shared;
    private final long width;
    private final boolean causal;
    private final double dropout;
    private final @Nullable RotaryPositions rotary;
    private final Parameter weight;
    private final @Nullable Parameter bias;
    private final Linear projection;

    /**
     * What else it is.
     *
     * @param keyValueHeads heads of keys and values, which divide those of queries: several share one; 0 for as many
     * @param causal whether a position sees only itself and those before it
     * @param dropout the probability at which a weight is dropped in training
     * @param bias whether the projections have one
     * @param rotaryBase of {@link RotaryPositions}, by which queries and keys are turned; 0 for none
     */
    public record Options(long keyValueHeads, boolean causal, double dropout, boolean bias, double rotaryBase) {
        /**
         * With fewer heads of keys and values.
         *
         * @param count divides the heads of queries
         * @return the same options but for that
         */
        public Options keyValueHeads(long count) {
            return new Options(count, causal, dropout, bias, rotaryBase);
        }

        /**
         * Whether a position sees only itself and those before it.
         *
         * @param on whether it is so
         * @return the same options but for that
         */
        public Options causal(boolean on) {
            return new Options(keyValueHeads, on, dropout, bias, rotaryBase);
        }

        /**
         * Drops weights in training.
         *
         * @param p from 0 to 1
         * @return the same options but for that
         */
        public Options dropout(double p) {
            return new Options(keyValueHeads, causal, p, bias, rotaryBase);
        }

        /**
         * Without biases.
         *
         * @return the same options but for that
         */
        public Options noBias() {
            return new Options(keyValueHeads, causal, dropout, false, rotaryBase);
        }

        /**
         * With queries and keys turned by their positions.
         *
         * @param base 10000 is usual
         * @return the same options but for that
         */
        public Options rotary(double base) {
            return new Options(keyValueHeads, causal, dropout, bias, base);
        }
    }

    /** {@return as many heads of keys as of queries, all is seen, no dropout, biases, no positions} */
    public static Options options() {
        return new Options(0, false, 0, true, 0);
    }

    /**
     * @param width size of the last dimension, of input and output
     * @param heads how many parts the width is split into
     * @param causal whether a position sees only itself and those before it
     * @throws IllegalArgumentException if the heads do not divide the width
     */
    public MultiheadAttention(long width, long heads, boolean causal) {
        this(width, heads, options().causal(causal));
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
        this(
                width,
                heads,
                options()
                        .keyValueHeads(Init.atLeast(1, "MultiheadAttention", "keyValueHeads", keyValueHeads))
                        .causal(causal)
                        .dropout(dropout));
    }

    /**
     * With options.
     *
     * @param width size of the last dimension, of input and output
     * @param heads how many parts the width is split into
     * @param options what else it is
     * @throws IllegalArgumentException if the heads do not divide the width, or each other
     */
    public MultiheadAttention(long width, long heads, Options options) {
        long keyValueHeads =
                Objects.requireNonNull(options, "options").keyValueHeads() == 0 ? heads : options.keyValueHeads();
        double probability = options.dropout();
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
        if (!(probability >= 0 && probability <= 1)) {
            throw new IllegalArgumentException("MultiheadAttention: dropout " + probability
                    + " does not lie in [0, 1]\n  fix: pass a probability.");
        }
        this.heads = Math.toIntExact(heads);
        this.shared = keyValueHeads;
        this.width = width;
        this.causal = options.causal();
        this.dropout = probability;
        rotary = options.rotaryBase() == 0 ? null : new RotaryPositions(width / heads, options.rotaryBase());
        long joint = Sizes.add(width, Sizes.multiply(2 * keyValueHeads, width / heads));
        Tensor rows = Tensor.empty(joint, width);
        Init.xavierUniform_(rows, 1);
        weight = parameter("in_proj_weight", rows);
        bias = options.bias() ? parameter("in_proj_bias", Tensor.zeros(joint)) : null;
        projection = child("out_proj", new Linear(width, width, options.bias()));
        if (projection.bias() != null) {
            Init.constant_(projection.bias(), 0);
        }
    }

    @Override
    protected Tensor compute(Tensor x) {
        return compute(x, (Tensor) null);
    }

    /**
     * {@return [B, T, width], the shape of {@code x}}
     *
     * @param x [B, T, width]
     * @param mask what broadcasts to [B, heads, T, T]: bool, true where a position sees another one (PyTorch's layer has it the
     *     other way round), or of x's dtype and added to the scores; or null. A mask of keys [B, T] is
     *     {@code mask.view(B, 1, 1, T)}
     */
    public Tensor forward(Tensor x, @Nullable Tensor mask) {
        return hooked(x, given -> compute(given, mask));
    }

    private Tensor compute(Tensor x, @Nullable Tensor mask) {
        Tensor joint = project(x, 0, weight.tensor().size(0));
        if (mask == null && rotary == null && shared == heads && (dropout == 0 || !isTraining())) {
            return projection.forward(SelfAttention.selfAttention(joint, heads, causal));
        }
        return attended(turned(part(joint, 0), 0), turned(part(joint, 1), 0), part(joint, 2), mask);
    }

    private Tensor turned(Tensor x, long from) {
        return rotary == null ? x : rotary.turn(x, from);
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
        return hooked(x, given -> compute(given, other, mask));
    }

    private Tensor compute(Tensor x, Tensor other, @Nullable Tensor mask) {
        long all = weight.tensor().size(0);
        Tensor q = project(x, 0, width);
        Tensor kv = project(other, width, all);
        long half = (all - width) / 2;
        return attended(
                turned(byHead(q, heads), 0),
                turned(byHead(kv.slice(-1, 0, half), shared), 0),
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
        return hooked(x, given -> {
            Tensor joint = project(given, 0, weight.tensor().size(0));
            long from = cache.length();
            return joined(cache.attend(turned(part(joint, 0), from), turned(part(joint, 1), from), part(joint, 2)));
        });
    }

    /**
     * An empty cache for this layer, of its dtype and on its device.
     *
     * @param batch sequences at once
     * @param capacity positions that there is room for
     * @return an empty cache, to be closed
     */
    public KeyValueCache cache(long batch, long capacity) {
        Tensor rows = weight.tensor();
        return new KeyValueCache(batch, shared, capacity, width / heads, rows.dtype(), rows.device());
    }

    private Tensor attended(Tensor q, Tensor k, Tensor v, @Nullable Tensor mask) {
        Attention.Options options = Attention.options().mask(mask).causal(causal);
        return joined(Attention.attention(q, k, v, isTraining() ? options.dropout(dropout) : options));
    }

    private Tensor project(Tensor x, long from, long to) {
        Tensor rows = weight.tensor();
        Tensor added = Parameter.of(bias);
        return from == 0 && to == rows.size(0)
                ? LinearAlgebra.linear(x, rows, added)
                : LinearAlgebra.linear(x, rows.slice(0, from, to), added == null ? null : added.slice(0, from, to));
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
