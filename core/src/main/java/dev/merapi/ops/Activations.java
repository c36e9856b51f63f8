// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.op.CastPolicy;

/** Activation functions. Where one has a kink, the gradient there is that of the left side. */
public final class Activations {
    private Activations() {}

    public static final PointwiseOp RELU = Pointwise.define("merapi::relu", Expr::relu);
    public static final PointwiseOp SIGMOID = Pointwise.define("merapi::sigmoid", Expr::sigmoid);
    public static final PointwiseOp LOG_SIGMOID =
            Pointwise.define("merapi::log_sigmoid", Expr::logSigmoid).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp SILU = Pointwise.define("merapi::silu", Expr::silu);
    public static final PointwiseOp GELU = Pointwise.define("merapi::gelu", Expr::gelu);
    public static final PointwiseOp GELU_TANH = Pointwise.define("merapi::gelu_tanh", Expr::geluTanh);
    public static final PointwiseOp SOFTPLUS =
            Pointwise.define("merapi::softplus", Expr::softplus).autocast(CastPolicy.FLOAT32);

    public static final PointwiseOp LEAKY_RELU = Pointwise.define(
            "merapi::leaky_relu", (x, slope) -> x.gt(0).select(x, x.mul(slope)), Param.scalar("slope"));

    public static final PointwiseOp ELU = Pointwise.define(
            "merapi::elu", (x, alpha) -> x.gt(0).select(x, alpha.mul(x.expm1())), Param.scalar("alpha"));

    /** x·tanh(softplus x). */
    public static final PointwiseOp MISH = Pointwise.define("merapi::mish", Exprs::mish);

    /** clamp(x + 3, 0, 6) / 6; beyond ±3 and there the gradient is 0. */
    public static final PointwiseOp HARD_SIGMOID = Pointwise.define(
            "merapi::hard_sigmoid",
            x -> x.le(-3)
                    .select(
                            Expr.constant(0.0),
                            x.ge(3).select(Expr.constant(1.0), x.add(3.0).div(6.0))));

    /** x·clamp(x + 3, 0, 6) / 6; the gradient at −3 is 0, at 3 it is 1. */
    public static final PointwiseOp HARD_SWISH = Pointwise.define(
            "merapi::hard_swish",
            x -> x.le(-3)
                    .select(
                            Expr.constant(0.0),
                            x.ge(3).select(x, x.mul(x.add(3.0)).div(6.0))));
}
