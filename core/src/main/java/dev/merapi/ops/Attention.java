// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * Scaled dot-product attention, fused: kernels need memory linear in the number of positions. See Note [Backward ops] in
 * {@link Softmax}.
 */
public final class Attention {
    private Attention() {}

    /**
     * @param q [B, H, Tq, D], floating, any strides
     * @param k [B, H, Tk, D]
     * @param v [B, H, Tk, D]
     * @param causal whether query i sees only keys j ≤ i + Tk − Tq
     * @param scale factor of q·k
     */
    public record Args(Tensor q, Tensor k, Tensor v, boolean causal, double scale) {}

    /**
     * @param out [B, H, Tq, D]
     * @param lse log Σ exp of the scores of each query [B, H, Tq], in the compute dtype; −∞ where it sees no key, or no
     *     score above −∞
     */
    public record AttentionResult(Tensor out, Tensor lse) {}

    public record BackwardArgs(
            Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, boolean causal, double scale) {}

    public record Gradients(Tensor q, Tensor k, Tensor v) {}

    public static final Op<BackwardArgs, Gradients> ATTENTION_BACKWARD = Op.define(
                    "merapi::attention_backward", BackwardArgs.class, Gradients.class)
            .stridesOk()
            .shape(a -> {
                String op = "attention_backward";
                check(op, a.q(), a.k(), a.v(), a.scale());
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
            .compose(a -> {
                Tensor p = probabilities(a.q(), a.k(), a.causal(), a.scale());
                Tensor dp = a.grad().matmul(a.v().transpose(-2, -1));
                Tensor ds = dp.sub(p.mul(dp).sum(new int[] {-1}, true)).mul(p).mul(a.scale());
                return new Gradients(
                        ds.matmul(a.k()),
                        ds.transpose(-2, -1).matmul(a.q()),
                        p.transpose(-2, -1).matmul(a.grad()));
            })
            .register();

    /** softmax(scale·q·kᵀ + mask)·v; a query that sees no key, or no score above −∞, has the weights 0. */
    public static final Op<Args, AttentionResult> ATTENTION = Op.define(
                    "merapi::attention", Args.class, AttentionResult.class)
            .stridesOk()
            .internal("lse")
            .shape(a -> {
                check("attention", a.q(), a.k(), a.v(), a.scale());
                Shape rows = a.q().shape().without(-1);
                DType compute = a.q().dtype() == DType.FLOAT64 ? DType.FLOAT64 : DType.FLOAT32;
                return new AttentionResult(Tensor.meta(a.q()), Tensor.meta(rows, compute, a.q().device()));
            })
            .compose(a -> {
                Tensor out = probabilities(a.q(), a.k(), a.causal(), a.scale()).matmul(a.v());
                Tensor scores = a.q().matmul(a.k().transpose(-2, -1)).mul(a.scale());
                if (a.causal()) {
                    scores = scores.maskedFill(hidden(a.q(), a.k()), Double.NEGATIVE_INFINITY);
                }
                DType compute = a.q().dtype() == DType.FLOAT64 ? DType.FLOAT64 : DType.FLOAT32;
                return new AttentionResult(out, scores.to(compute).logSumExp(-1));
            })
            .autograd((a, out) -> new Saved(a, out.out(), out.lse()), (context, s, g) -> {
                Args a = s.args;
                Gradients d = ATTENTION_BACKWARD.call(
                        new BackwardArgs(g.out(), a.q(), a.k(), a.v(), s.out, s.lse, a.causal(), a.scale()));
                return Grads.of("q", d.q()).and("k", d.k()).and("v", d.v());
            })
            .autocast(CastPolicy.LOWER)
            .register();

    /** What the gradients of {@link #ATTENTION} are made of. */
    public record Saved(Args args, Tensor out, Tensor lse) {}

    /**
     * The softmax of the scores, 0 where a key is hidden, and in rows without a score above −∞; what is hidden is finite before
     * the softmax, so that no gradient is NaN.
     */
    private static Tensor probabilities(Tensor q, Tensor k, boolean causal, double scale) {
        Tensor scores = q.matmul(k.transpose(-2, -1)).mul(scale);
        Tensor hidden = causal ? hidden(q, k) : null;
        Tensor seen = hidden == null ? scores : scores.maskedFill(hidden, Double.NEGATIVE_INFINITY);
        Tensor empty = seen.detach().logSumExp(new int[] {-1}, true).eq(Double.NEGATIVE_INFINITY);
        hidden = hidden == null ? empty : hidden.logicalOr(empty);
        double low = q.dtype() == DType.FLOAT16 ? -6e4 : -1e30;
        return scores.maskedFill(hidden, low).softmax(-1).maskedFill(hidden, 0);
    }

    /** [Tq, Tk]: true where key j lies behind query i. */
    private static Tensor hidden(Tensor q, Tensor k) {
        Tensor rows = Reductions.count(q, q.size(2)).unsqueeze(1);
        Tensor columns = Reductions.count(q, k.size(2)).unsqueeze(0);
        return columns.gt(rows.add(k.size(2) - q.size(2)));
    }

    private static void check(String op, Tensor q, Tensor k, Tensor v, double scale) {
        Form.requireFinite(op, "scale", scale);
        Softmax.requireFloating(op, q);
        LinearAlgebra.requireSame(op, q, "q", k, "k");
        LinearAlgebra.requireSame(op, q, "q", v, "v");
        boolean fits = q.rank() == 4
                && k.rank() == 4
                && v.shape().equals(k.shape())
                && q.size(0) == k.size(0)
                && q.size(1) == k.size(1)
                && q.size(3) == k.size(3);
        if (!fits) {
            throw new ShapeException(
                    Message.of(op + ": needs q [B, H, Tq, D] and k, v [B, H, Tk, D]")
                            .fact("q", q.describe())
                            .fact("k", k.describe())
                            .fact("v", v.describe())
                            .fix(
                                    "split heads with x.view(B, T, H, D).transpose(1, 2); expand k and v where heads share them."));
        }
    }

    /**
     * softmax(q·kᵀ / √D)·v for q [B, H, Tq, D] and k, v [B, H, Tk, D] of one floating dtype → [B, H, Tq, D]; views such
     * as transposed heads are not copied. Gradient: q, k, v, to any order.
     *
     * <p>What a query does not see has no part in its result, nor in the gradients: not even NaN (but in gradients that get a
     * graph of their own, which are products of whole matrices). A query that sees no key, or
     * whose scores are all −∞, has the weights 0, as in PyTorch: its result is 0, and so is its gradient, and it has no part in
     * those of keys and values (but that 0 times what is not finite is NaN).
     *
     * @param causal whether a query sees only the keys up to its own position, counted from the end
     * @throws ShapeException if the shapes do not fit
     */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, boolean causal) {
        Objects.requireNonNull(q, "q");
        Objects.requireNonNull(k, "k");
        Objects.requireNonNull(v, "v");
        double width = q.rank() == 0 ? 1 : q.size(-1);
        return attention(q, k, v, causal, 1 / Math.sqrt(Math.max(1, width)));
    }

    /** As above with a factor of one's own. */
    public static Tensor attention(Tensor q, Tensor k, Tensor v, boolean causal, double scale) {
        Objects.requireNonNull(q, "q");
        Objects.requireNonNull(k, "k");
        Objects.requireNonNull(v, "v");
        return ATTENTION.call(new Args(q, k, v, causal, scale)).out();
    }
}
