// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.Objects;

/**
 * {@link Attention} on one joint projection, [B, T, 3·W] → [B, T, W]. Everything stays where it lies: heads are not
 * brought together before or after, and the three gradients are written into one tensor. See Note [Backward ops] in
 * {@link Softmax}.
 */
public final class SelfAttention {
    private SelfAttention() {}

    /**
     * What {@link #SELF_ATTENTION} takes.
     *
     * @param qkv [B, T, 3·W], floating: queries, keys and values of all heads, one after another
     * @param heads H, which divides W
     * @param causal whether a position sees only itself and those before it
     * @param scale factor of q·k
     */
    public record Args(Tensor qkv, int heads, boolean causal, double scale) {}

    /**
     * What {@link #SELF_ATTENTION} gives; {@code lse} is internal.
     *
     * @param out [B, T, W]
     * @param lse as in {@link Attention.AttentionResult}, [B, H, T]
     */
    public record Attended(Tensor out, Tensor lse) {}

    /**
     * What {@link #SELF_ATTENTION_BACKWARD} takes.
     *
     * @param grad the gradient of {@code out}, [B, T, W]
     * @param qkv as in {@link Args}
     * @param out as in {@link Attended}
     * @param lse as in {@link Attended}
     * @param heads as in {@link Args}
     * @param causal as in {@link Args}
     * @param scale as in {@link Args}
     */
    public record BackwardArgs(
            Tensor grad, Tensor qkv, Tensor out, Tensor lse, int heads, boolean causal, double scale) {}

    /** The gradient of the joint projection, [B, T, 3·W]: those of q, k and v are written side by side. */
    public static final Op<BackwardArgs, Tensor> SELF_ATTENTION_BACKWARD = Op.define(
                    "merapi::self_attention_backward", BackwardArgs.class, Tensor.class)
            .reference(SelfAttention::backward)
            .shape(a -> {
                String op = "self_attention_backward";
                check(op, a.qkv(), a.heads(), a.scale());
                Shape s = a.qkv().shape();
                Shape out = s.with(-1, s.size(2) / 3);
                Form.require(op, "grad", a.grad(), out, a.qkv().dtype());
                Form.require(op, "out", a.out(), out, a.qkv().dtype());
                Shape rows = Shape.of(s.size(0), a.heads(), s.size(1));
                Form.require(op, "lse", a.lse(), rows, a.qkv().dtype().computeType());
                return Tensor.meta(a.qkv());
            })
            .compose(a -> {
                Attention.Gradients d = gradients(a);
                return Tensor.cat(List.of(joined(d.q()), joined(d.k()), joined(d.v())), -1);
            })
            .register();

    /** softmax(scale·q·kᵀ + mask)·v of each head, for q, k and v that lie side by side. */
    public static final Op<Args, Attended> SELF_ATTENTION = Op.define(
                    "merapi::self_attention", Args.class, Attended.class)
            .reference(SelfAttention::forward)
            .internal("lse")
            .shape(a -> {
                check("self_attention", a.qkv(), a.heads(), a.scale());
                Shape s = a.qkv().shape();
                return new Attended(
                        Tensor.meta(a.qkv(), s.with(-1, s.size(2) / 3)),
                        Tensor.meta(
                                Shape.of(s.size(0), a.heads(), s.size(1)),
                                a.qkv().dtype().computeType(),
                                a.qkv().device()));
            })
            .autograd((a, out) -> new Saved(a, out.out(), out.lse()), (context, s, g) -> {
                Args a = s.args;
                return Grads.of(
                        "qkv",
                        SELF_ATTENTION_BACKWARD.call(
                                new BackwardArgs(g.out(), a.qkv(), s.out, s.lse, a.heads(), a.causal(), a.scale())));
            })
            .autocast(CastPolicy.LOWER)
            .register();

    /** What the gradient of {@link #SELF_ATTENTION} is made of. */
    record Saved(Args args, Tensor out, Tensor lse) {}

    /** {@link Attention} on views. */
    private static void forward(Args a, Attended out) {
        Context context = Context.current();
        try (Scope scope = TENSORS.openScope(context)) {
            List<Tensor> parts = thirds(a.qkv());
            Tensor q = byHead(parts.get(0), a.heads());
            Tensor k = byHead(parts.get(1), a.heads());
            Tensor v = byHead(parts.get(2), a.heads());
            Attention.Args args = new Attention.Args(q, k, v, a.causal(), a.scale());
            // Not by a call, which would close lse, an internal result.
            Attention.AttentionResult r = Dispatcher.belowAutograd(
                    Attention.ATTENTION.definition(), args, new Tensor[] {q, k, v, null, null}, context);
            byHead(out.out(), a.heads()).copy_(r.out());
            out.lse().copy_(r.lse());
        }
    }

    private static void backward(BackwardArgs a, Tensor out) {
        try (Scope scope = TENSORS.openScope(Context.current())) {
            Attention.Gradients d = gradients(a);
            List<Tensor> parts = thirds(out);
            byHead(parts.get(0), a.heads()).copy_(d.q());
            byHead(parts.get(1), a.heads()).copy_(d.k());
            byHead(parts.get(2), a.heads()).copy_(d.v());
        }
    }

    private static Attention.Gradients gradients(BackwardArgs a) {
        List<Tensor> parts = thirds(a.qkv());
        Attention.Args args = new Attention.Args(
                byHead(parts.get(0), a.heads()),
                byHead(parts.get(1), a.heads()),
                byHead(parts.get(2), a.heads()),
                a.causal(),
                a.scale());
        return Attention.ATTENTION_BACKWARD.call(
                new Attention.BackwardArgs(args, byHead(a.out(), a.heads()), a.lse(), byHead(a.grad(), a.heads())));
    }

    /** Queries, keys and values [B, T, W]. */
    private static List<Tensor> thirds(Tensor qkv) {
        long width = qkv.size(2) / 3;
        return qkv.split(new long[] {width, width, width}, -1);
    }

    /** [B, T, W] → [B, H, T, W / H], a view. */
    private static Tensor byHead(Tensor x, int heads) {
        return x.view(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);
    }

    /** [B, H, T, D] → [B, T, H·D]. */
    private static Tensor joined(Tensor x) {
        return x.transpose(1, 2).reshape(x.size(0), x.size(2), x.size(1) * x.size(3));
    }

    private static void check(String op, Tensor qkv, int heads, double scale) {
        Form.requireFinite(op, "scale", scale);
        Softmax.requireFloating(op, qkv);
        if (qkv.rank() != 3 || heads < 1 || qkv.size(2) % (3L * heads) != 0) {
            throw new ShapeException(Message.of(op + ": needs qkv [B, T, 3·W], and heads that divide W")
                    .fact("qkv", qkv.describe())
                    .fact("heads", heads)
                    .fix("project to three times a multiple of the heads."));
        }
    }

    /**
     * softmax(q·kᵀ / √D)·v of each head, D = W / heads, for a joint projection [B, T, 3·W] of queries, keys and values →
     * [B, T, W]. The same as {@link Attention#attention(Tensor, Tensor, Tensor, boolean)} on its parts, without copies.
     * Gradient: qkv, to any order.
     *
     * @param qkv [B, T, 3·W], floating: queries, keys and values of all heads, one after another
     * @param heads how many, a divisor of W
     * @param causal whether a position sees only itself and those before it
     * @return [B, T, W], in the dtype of qkv
     * @throws ShapeException if the heads do not divide W
     */
    public static Tensor selfAttention(Tensor qkv, int heads, boolean causal) {
        Objects.requireNonNull(qkv, "qkv");
        double width = qkv.rank() == 3 && heads > 0 ? qkv.size(2) / (3.0 * heads) : 1;
        return SELF_ATTENTION
                .call(new Args(qkv, heads, causal, 1 / Math.sqrt(Math.max(1, width))))
                .out();
    }
}
