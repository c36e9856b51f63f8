// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Scaled dot-product attention, fused: kernels need memory linear in the number of positions. See Note [Backward ops] in
 * {@link Softmax}.
 *
 * <pre>{@code
 * Attention.attention(q, k, v, true)                                            // causal
 * Attention.attention(q, k, v, Attention.options().mask(m).dropout(0.1))        // in any mix
 * q.scaledDotProductAttention(k, v)
 * }</pre>
 *
 * <p>Note [Dropped weights]: whether the weight of query i and key j is kept in head h of batch entry b says lane j mod 4 of
 * block offset + ((i·B + b)·H + h)·⌈Tk/4⌉ + j/4 of {@link dev.merapi.random.Philox}. So backward finds again what forward
 * dropped without a matrix of it, and the numbers of neighbouring queries stand together.
 */
public final class Attention {
    private Attention() {}

    /**
     * @param q [B, H, Tq, D], floating, any strides
     * @param k [B, Hk, Tk, D], where Hk divides H: H / Hk neighbouring heads of q share one of k and v
     * @param v [B, Hk, Tk, D]
     * @param mask what broadcasts to [B, H, Tq, Tk], with four dimensions: bool, true where a query sees a key, or of
     *     q's dtype, added to the scores, where −∞ hides the key
     * @param causal whether query i sees only keys j ≤ i + shift
     * @param shift which keys a causal query sees; 0 where queries and keys begin together
     * @param scale factor of q·k
     * @param dropout the probability at which a weight becomes 0; others are divided by 1 − dropout
     * @param seed with offset and base the numbers for that, as {@link RandomOps} takes them; see Note [Dropped
     *     weights]
     * @param offset the first block of random numbers
     * @param base int64, 0-d: added to offset when the kernel runs, so that a captured graph draws new numbers; or
     *     null
     */
    public record Args(
            Tensor q,
            Tensor k,
            Tensor v,
            @Nullable Tensor mask,
            boolean causal,
            long shift,
            double scale,
            double dropout,
            long seed,
            long offset,
            @Nullable Tensor base) {
        /**
         * Without a mask and dropout; query i sees the keys j ≤ i if it is causal.
         *
         * @param q [B, H, Tq, D], floating
         * @param k [B, Hk, Tk, D], where Hk divides H
         * @param v [B, Hk, Tk, D]
         * @param causal whether query i sees only keys j ≤ i
         * @param scale factor of q·k
         */
        public Args(Tensor q, Tensor k, Tensor v, boolean causal, double scale) {
            this(q, k, v, null, causal, 0, scale, 0, 0, 0, null);
        }

        /**
         * {@return {@code shift} where causal, else what hides nothing; so small that sums with positions are exact}
         */
        public long reach() {
            return causal ? Math.max(-q.size(2), Math.min(k.size(2), shift)) : k.size(2);
        }

        /** {@return how many heads of q share one of k and v, H/Hk} */
        public long group() {
            return k.size(1) == 0 ? 1 : q.size(1) / k.size(1);
        }
    }

    /**
     * @param out [B, H, Tq, D]
     * @param lse log Σ exp of the scores of each query [B, H, Tq], in the compute dtype; −∞ where it sees no key, or no
     *     score above −∞
     */
    public record AttentionResult(Tensor out, Tensor lse) {}

    /**
     * What the gradients of {@link #ATTENTION} are made of: that of its result, its arguments, and its result.
     *
     * @param grad the gradient of {@code out}, [B, H, Tq, D]
     * @param q as in {@link Args}
     * @param k as in {@link Args}
     * @param v as in {@link Args}
     * @param mask as in {@link Args}
     * @param out the result, [B, H, Tq, D]
     * @param lse as in {@link AttentionResult}
     * @param causal as in {@link Args}
     * @param shift as in {@link Args}
     * @param scale as in {@link Args}
     * @param dropout as in {@link Args}
     * @param seed as in {@link Args}, so that the same weights are dropped again
     * @param offset as in {@link Args}
     * @param base as in {@link Args}
     */
    public record BackwardArgs(
            Tensor grad,
            Tensor q,
            Tensor k,
            Tensor v,
            @Nullable Tensor mask,
            Tensor out,
            Tensor lse,
            boolean causal,
            long shift,
            double scale,
            double dropout,
            long seed,
            long offset,
            @Nullable Tensor base) {
        /**
         * For a call and its result.
         *
         * @param a the arguments of the call
         * @param out its result
         * @param lse its internal result
         * @param grad the gradient of {@code out}
         */
        public BackwardArgs(Args a, Tensor out, Tensor lse, Tensor grad) {
            this(
                    grad, a.q, a.k, a.v, a.mask, out, lse, a.causal, a.shift, a.scale, a.dropout, a.seed, a.offset,
                    a.base);
        }

        /** {@return the arguments that the result was made of} */
        public Args forward() {
            return new Args(q, k, v, mask, causal, shift, scale, dropout, seed, offset, base);
        }
    }

    /**
     * The gradients of one call.
     *
     * @param q [B, H, Tq, D]
     * @param k [B, Hk, Tk, D], summed over the heads of q that share one
     * @param v [B, Hk, Tk, D], likewise
     */
    public record Gradients(Tensor q, Tensor k, Tensor v) {}

    /**
     * The gradients of q, k and v in one pass, of which no matrix of weights is kept: weights are computed again from
     * {@code lse}.
     */
    public static final Op<BackwardArgs, Gradients> ATTENTION_BACKWARD = Op.define(
                    "merapi::attention_backward", BackwardArgs.class, Gradients.class)
            .stridesOk()
            .kernelType(a -> a.q().dtype())
            .shape(a -> {
                String op = "attention_backward";
                check(op, a.forward());
                Form.requireLike(op, "grad", a.grad(), a.q());
                Form.requireLike(op, "out", a.out(), a.q());
                Form.require(
                        op,
                        "lse",
                        a.lse(),
                        a.q().shape().without(-1),
                        a.q().dtype().computeType());
                return new Gradients(Tensor.meta(a.q()), Tensor.meta(a.k()), Tensor.meta(a.v()));
            })
            .compose(a -> AttentionFormula.gradients(a.forward(), a.grad()))
            .register();

    /**
     * softmax(scale·q·kᵀ + mask)·v; a query that sees no key, or no score above −∞, has the weights 0. The gradient of a mask
     * is made by other ops, some queries at a time.
     */
    public static final Op<Args, AttentionResult> ATTENTION = Op.define(
                    "merapi::attention", Args.class, AttentionResult.class)
            .stridesOk()
            .internal("lse")
            .kernelType(a -> a.q().dtype())
            .shape(a -> {
                check("attention", a);
                Shape rows = a.q().shape().without(-1);
                return new AttentionResult(
                        Tensor.meta(a.q()), Tensor.meta(rows, a.q().dtype().computeType(), a.q().device()));
            })
            .compose(AttentionFormula::forward)
            .autograd((a, out) -> new Saved(a, out.out(), out.lse()), (context, s, g) -> {
                Gradients d = ATTENTION_BACKWARD.call(new BackwardArgs(s.args, s.out, s.lse, g.out()));
                Tensor mask = context.needs("mask") ? AttentionFormula.maskGradient(s.args, g.out()) : null;
                return Grads.of("q", d.q())
                        .and("k", d.k())
                        .and("v", d.v())
                        .and("mask", mask)
                        .and("base", null);
            })
            .autocast(CastPolicy.LOWER)
            .register();

    /** What the gradients of {@link #ATTENTION} are made of. */
    record Saved(Args args, Tensor out, Tensor lse) {}

    private static void check(String op, Args a) {
        Tensor q = a.q();
        Tensor k = a.k();
        Tensor v = a.v();
        Form.requireFinite(op, "scale", a.scale());
        Form.requireNumber(op, "dropout", a.dropout(), 0, 1);
        Softmax.requireFloating(op, q);
        LinearAlgebra.requireSame(op, q, "q", k, "k");
        LinearAlgebra.requireSame(op, q, "q", v, "v");
        boolean fits = q.rank() == 4
                && k.rank() == 4
                && v.shape().equals(k.shape())
                && q.size(0) == k.size(0)
                && q.size(3) == k.size(3)
                && (q.size(1) == k.size(1) || k.size(1) > 0 && q.size(1) % k.size(1) == 0);
        if (!fits) {
            throw new ShapeException(
                    Message.of(op + ": needs q [B, H, Tq, D] and k, v [B, Hk, Tk, D], where Hk divides H")
                            .fact("q", q.describe())
                            .fact("k", k.describe())
                            .fact("v", v.describe())
                            .fix("split heads with x.view(B, T, H, D).transpose(1, 2)."));
        }
        if (a.mask() != null) {
            checkMask(op, a.mask(), q, k);
        }
    }

    private static void checkMask(String op, Tensor mask, Tensor q, Tensor k) {
        if (mask.dtype() != DType.BOOL && mask.dtype() != q.dtype()) {
            throw new DTypeException(Message.of(op + ": the mask must be bool, or " + q.dtype() + " as q is")
                    .fact("mask", mask.describe())
                    .fix("mask.to(" + q.dtype()
                            + ") if it is added to the scores, mask.ne(0) if it says what is seen."));
        }
        long[] full = {q.size(0), q.size(1), q.size(2), k.size(2)};
        boolean fits = mask.rank() == 4;
        for (int i = 0; fits && i < 4; i++) {
            fits = mask.size(i) == full[i] || mask.size(i) == 1;
        }
        if (!fits) {
            throw new ShapeException(Message.of(op + ": the mask does not broadcast to [B, H, Tq, Tk]")
                    .fact("mask", mask.describe())
                    .fact("[B, H, Tq, Tk]", Shape.of(full))
                    .fix("a mask of keys [B, Tk] is mask.view(B, 1, 1, Tk)."));
        }
    }

    // ---------------------------------------------------------------- calls

    /** How attention differs from softmax(q·kᵀ / √D)·v. Immutable: each method gives another one. */
    public static final class Options {
        private enum Seen {
            ALL,
            FROM_START,
            FROM_END
        }

        private static final Options NONE = new Options(null, Seen.ALL, Double.NaN, 0);

        private final @Nullable Tensor mask;
        private final Seen seen;
        private final double scale; // NaN: 1 / √D
        private final double dropout;

        private Options(@Nullable Tensor mask, Seen seen, double scale, double dropout) {
            this.mask = mask;
            this.seen = seen;
            this.scale = scale;
            this.dropout = dropout;
        }

        /**
         * What broadcasts to [B, H, Tq, Tk]: bool, true where a query sees a key; or of the dtype of q, added to the scores,
         * where −∞ hides the key. With {@link #causal}, both must let a query see. A mask that is added has a gradient.
         *
         * @param added the mask; null for none
         * @return options with this mask, in place of one set before
         */
        public Options mask(@Nullable Tensor added) {
            if (added != null) {
                added.requireOpen("attention", "mask");
            }
            return new Options(added, seen, scale, dropout);
        }

        /**
         * {@return options by which query i sees only the keys j ≤ i, however many of either there are: PyTorch's
         * {@code is_causal}}
         */
        public Options causal() {
            return causal(true);
        }

        /**
         * {@link #causal()} if {@code on}, else every query sees every key.
         *
         * @param on whether queries see only the keys up to their own place
         * @return options with or without that
         */
        public Options causal(boolean on) {
            return new Options(mask, on ? Seen.FROM_START : Seen.ALL, scale, dropout);
        }

        /**
         * {@return options by which the last query sees all keys, each one before it one less: for queries that continue
         * a sequence of keys}
         */
        public Options causalFromEnd() {
            return new Options(mask, Seen.FROM_END, scale, dropout);
        }

        /**
         * The factor of q·k, instead of 1 / √D.
         *
         * @param factor finite
         * @return options with this factor
         * @throws dev.merapi.error.SchemaException if it is not finite
         */
        public Options scale(double factor) {
            Form.requireFinite("attention", "scale", factor);
            return new Options(mask, seen, factor, dropout);
        }

        /**
         * Each weight becomes 0 at probability p, and is divided by 1 − p otherwise.
         *
         * @param p from 0 to 1; the numbers are drawn from the default generator of the device
         * @return options with this probability
         * @throws dev.merapi.error.SchemaException if it is not from 0 to 1
         */
        public Options dropout(double p) {
            Form.requireNumber("attention", "dropout", p, 0, 1);
            return new Options(mask, seen, scale, p);
        }
    }

    /** {@return options to start from: no mask, no dropout, every query sees every key, scaled by 1/√D} */
    public static Options options() {
        return Options.NONE;
    }

    /**
     * softmax(q·kᵀ / √D)·v for q [B, H, Tq, D] and k, v [B, Hk, Tk, D] of one floating dtype → [B, H, Tq, D]; views such
     * as transposed heads are not copied. Where there are fewer heads of k and v than of q, H / Hk neighbouring ones of q share
     * one. Gradient: q, k, v, and a mask that is added, to any order.
     *
     * <p>What a query does not see has no part in its result, nor in the gradients: not even NaN (but in gradients that get a
     * graph of their own, which are products of whole matrices). A query that sees no key, or whose scores are all −∞, has the
     * weights 0, as in PyTorch: its result is 0, and so is its gradient, and it has no part in
     * those of keys and values (but that 0 times what is not finite is NaN).
     *
     * @param q queries, [B, H, Tq, D], floating
     * @param k keys, [B, Hk, Tk, D], where Hk divides H
     * @param v values, [B, Hk, Tk, D]
     * @param options mask, causality, scale and dropout
     * @return [B, H, Tq, D], in the dtype of q
     * @throws ShapeException if the shapes do not fit
     * @throws DTypeException if q, k and v are not of one floating dtype, or the mask of neither that nor bool
     */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, Options options) {
        Objects.requireNonNull(q, "q");
        Objects.requireNonNull(k, "k");
        Objects.requireNonNull(v, "v");
        Objects.requireNonNull(options, "options");
        Tensor mask = options.mask;
        while (mask != null && mask.rank() < 4) {
            mask = mask.unsqueeze(0);
        }
        boolean causal = options.seen != Options.Seen.ALL;
        long shift =
                options.seen == Options.Seen.FROM_END && q.rank() == 4 && k.rank() == 4 ? k.size(2) - q.size(2) : 0;
        double scale = Double.isNaN(options.scale) ? scaleOf(q) : options.scale;
        Args args = new Args(q, k, v, mask, causal, shift, scale, options.dropout, 0, 0, null);
        if (options.dropout > 0) {
            check("attention", args); // before a number is drawn
            long blocks = q.size(0) * q.size(1) * q.size(2) * blocks(k.size(2));
            GraphCapture.Draw d = GraphCapture.Draw.take(blocks, q.device());
            args = new Args(q, k, v, mask, causal, shift, scale, options.dropout, d.seed(), d.offset(), d.base());
        }
        return ATTENTION.call(args).out();
    }

    /**
     * {@link #attention(Tensor, Tensor, Tensor, Options)}; if {@code causal}, query i sees only the keys j ≤ i.
     *
     * @param q queries, [B, H, Tq, D], floating
     * @param k keys, [B, Hk, Tk, D], where Hk divides H
     * @param v values, [B, Hk, Tk, D]
     * @param causal whether query i sees only the keys j ≤ i
     * @return [B, H, Tq, D], in the dtype of q
     */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, boolean causal) {
        Objects.requireNonNull(q, "q");
        Objects.requireNonNull(k, "k");
        Objects.requireNonNull(v, "v");
        return ATTENTION.call(new Args(q, k, v, causal, scaleOf(q))).out();
    }

    /**
     * As above with a factor of one's own.
     *
     * @param q queries, [B, H, Tq, D], floating
     * @param k keys, [B, Hk, Tk, D], where Hk divides H
     * @param v values, [B, Hk, Tk, D]
     * @param causal whether query i sees only the keys j ≤ i
     * @param scale factor of q·k, in place of 1/√D
     * @return [B, H, Tq, D], in the dtype of q
     */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, boolean causal, double scale) {
        Objects.requireNonNull(q, "q");
        Objects.requireNonNull(k, "k");
        Objects.requireNonNull(v, "v");
        return ATTENTION.call(new Args(q, k, v, causal, scale)).out();
    }

    /**
     * {@link #attention(Tensor, Tensor, Tensor, Options)} with the arguments of PyTorch's function, in its order; a mask and
     * {@code causal} may both be given.
     *
     * @param q queries, [B, H, Tq, D], floating
     * @param k keys, [B, Hk, Tk, D], where Hk divides H
     * @param v values, [B, Hk, Tk, D]
     * @param mask as for {@link Options#mask}; or null
     * @param dropout the probability at which a weight becomes 0, also outside of training: pass 0 there
     * @param causal whether query i sees only the keys j ≤ i
     * @return [B, H, Tq, D], in the dtype of q
     */
    public static Tensor scaledDotProductAttention(
            Tensor q, Tensor k, Tensor v, @Nullable Tensor mask, double dropout, boolean causal) {
        return attention(q, k, v, options().mask(mask).dropout(dropout).causal(causal));
    }

    private static double scaleOf(Tensor q) {
        double width = q.rank() == 0 ? 1 : q.size(-1);
        return 1 / Math.sqrt(Math.max(1, width));
    }

    /**
     * Blocks of random numbers of one query in one head; see Note [Dropped weights].
     *
     * @param keys Tk
     * @return ⌈keys/4⌉, as a block has four numbers
     */
    public static long blocks(long keys) {
        return (keys + 3) / 4;
    }
}
