// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.expr.Exprs;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.FeedForwardOp;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.lang.invoke.MethodHandles;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * {@link FeedForwardOp} where a library multiplies: the first product adds the bias and applies the GELU before it writes,
 * and in backward the product that makes the gradient of the inner values multiplies by the GELU's derivative and sums up
 * the bias's gradient. So neither reads or writes [rows, hidden] once more.
 */
public final class FusedFeedForward {
    static final String NAME = "cuda::feed_forward";
    static final String BACKWARD_NAME = "cuda::feed_forward_backward";

    private FusedFeedForward() {}

    /** The derivative of the GELU's tanh approximation at x, times g. */
    static final PointwiseOp GELU_GRADIENT =
            Pointwise.define("cuda::gelu_tanh_gradient", (x, g) -> g.mul(Exprs.geluTanhGrad(x)));

    /**
     * @param inner x·upᵀ + upBias, [.., hidden]
     * @param active its GELU
     */
    record Fed(Tensor out, Tensor inner, Tensor active) {}

    /** What was given to the forward, what it made, and the gradient of {@code out}. */
    record BackwardArgs(Tensor grad, Tensor x, Tensor up, Tensor upBias, Tensor down, Tensor inner, Tensor active) {}

    record Gradients(Tensor x, Tensor up, Tensor upBias, Tensor down, Tensor downBias) {}

    private record Saved(FeedForwardOp.Args args, Tensor inner, Tensor active) {}

    /** See Note [Backward ops] in {@link dev.merapi.ops.Softmax}. */
    static final Op<BackwardArgs, Gradients> BACKWARD = Op.define(
                    MethodHandles.lookup(), BACKWARD_NAME, BackwardArgs.class, Gradients.class)
            .shape(a -> new Gradients(
                    Tensor.meta(a.x()),
                    Tensor.meta(a.up()),
                    Tensor.meta(a.upBias()),
                    Tensor.meta(a.down()),
                    Tensor.meta(a.grad(), Shape.of(a.down().size(0)))))
            .compose(a -> {
                Tensor inner = LinearAlgebra.linear(a.x(), a.up(), a.upBias());
                return gradients(a, inner, inner.geluTanh());
            })
            .register();

    static final Op<FeedForwardOp.Args, Fed> OP = Op.define(
                    MethodHandles.lookup(), NAME, FeedForwardOp.Args.class, Fed.class)
            .shape(a -> {
                Tensor inner = linear(a.x(), a.up(), a.upBias());
                return new Fed(linear(inner, a.down(), a.downBias()), inner, Tensor.meta(inner));
            })
            .compose(a -> {
                Tensor inner = LinearAlgebra.linear(a.x(), a.up(), a.upBias());
                Tensor active = inner.geluTanh();
                return new Fed(LinearAlgebra.linear(active, a.down(), a.downBias()), inner, active);
            })
            .internal("inner", "active")
            .autograd((a, fed) -> new Saved(a, fed.inner(), fed.active()), FusedFeedForward::backward)
            .autocast(CastPolicy.LOWER)
            .register();

    /** Products that have nothing to do are left to the common composition. */
    public static final Function<FeedForwardOp.Args, Tensor> EXPANSION = a -> {
        FeedForwardOp.check(a);
        boolean empty = a.x().numel() == 0 || a.up().numel() == 0 || a.down().numel() == 0;
        return empty ? FeedForwardOp.composed(a) : OP.call(a).out();
    };

    /** geluTanh(x·weightᵀ + bias); {@code inner} gets what that is applied to. */
    public static MatrixProduct activated(LinearAlgebra.Linear args, Tensor inner, Tensor out) {
        MatrixProduct p = MatrixProduct.of(args, out);
        MatrixProduct.Gelu gelu = new MatrixProduct.Gelu(inner, false);
        return new MatrixProduct(NAME, p.a(), p.b(), p.bias(), null, gelu, p.out(), p.m(), p.n(), p.k(), p.batch());
    }

    /** g·weight ⊙ geluTanh'(inner), all rows as one matrix, and the sums of its columns if they are wanted. */
    public static MatrixProduct beforeActivation(
            Tensor g, Tensor weight, Tensor inner, @Nullable Tensor sums, Tensor out) {
        MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(g, weight), out);
        MatrixProduct.Gelu gelu = new MatrixProduct.Gelu(inner, true);
        return new MatrixProduct(
                BACKWARD_NAME, p.a(), p.b(), null, sums, gelu, p.out(), p.m(), p.n(), p.k(), p.batch());
    }

    /** The shape of a linear map's result, by its own rule. */
    private static Tensor linear(Tensor x, Tensor weight, Tensor bias) {
        Function<LinearAlgebra.Linear, Tensor> rule = java.util.Objects.requireNonNull(
                LinearAlgebra.LINEAR.definition().shape());
        return rule.apply(new LinearAlgebra.Linear(x, weight, bias));
    }

    private static Grads backward(BackwardContext context, Saved s, Fed g) {
        FeedForwardOp.Args a = s.args;
        BackwardArgs args = new BackwardArgs(g.out(), a.x(), a.up(), a.upBias(), a.down(), s.inner, s.active);
        boolean all = true;
        for (String name : new String[] {"x", "up", "upBias", "down", "downBias"}) {
            all &= context.needs(name);
        }
        if (all && g.out().numel() > 0) {
            Gradients d = BACKWARD.call(args);
            return Grads.of("x", d.x)
                    .and("up", d.up)
                    .and("upBias", d.upBias)
                    .and("down", d.down)
                    .and("downBias", d.downBias);
        }
        // With a graph, what is internal is computed again.
        Tensor inner = context.createGraph() ? LinearAlgebra.linear(a.x(), a.up(), a.upBias()) : s.inner;
        Tensor rows = rows(args.grad);
        Tensor before = context.needs("x") || context.needs("up") || context.needs("upBias")
                ? GELU_GRADIENT.call(inner, args.grad.matmul(a.down()))
                : null;
        return Grads.of("x", context.needs("x") && before != null ? before.matmul(a.up()) : null)
                .and(
                        "up",
                        context.needs("up") && before != null ? rows(before).t().matmul(rows(a.x())) : null)
                .and(
                        "upBias",
                        context.needs("upBias") && before != null ? rows(before).sum(0) : null)
                .and(
                        "down",
                        context.needs("down")
                                ? rows.t().matmul(rows(context.createGraph() ? inner.geluTanh() : s.active))
                                : null)
                .and("downBias", context.needs("downBias") ? rows.sum(0) : null);
    }

    private static Gradients gradients(BackwardArgs a, Tensor inner, Tensor active) {
        Tensor before = GELU_GRADIENT.call(inner, a.grad.matmul(a.down));
        LinearGradients.Parameters up = LinearGradients.OP.call(new LinearGradients.Args(rows(before), rows(a.x)));
        LinearGradients.Parameters down = LinearGradients.OP.call(new LinearGradients.Args(rows(a.grad), rows(active)));
        return new Gradients(before.matmul(a.up), up.weight(), up.bias(), down.weight(), down.bias());
    }

    /** All but the last dimension as one. */
    static Tensor rows(Tensor t) {
        return LinearGradients.rows(t);
    }
}
