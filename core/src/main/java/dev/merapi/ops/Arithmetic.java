// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.op.CastPolicy;
import java.util.List;

/**
 * Arithmetic of tensors with tensors and with scalars. An op with a scalar is an op of its own, so that the scalar is a
 * run-time parameter and never decides what is compiled.
 */
public final class Arithmetic {
    private static final Param S = Param.scalar("s");

    private Arithmetic() {}

    // ---------------------------------------------------------------- two tensors

    public static final PointwiseOp ADD = Pointwise.define("merapi::add", Expr::add);
    public static final PointwiseOp SUB = Pointwise.define("merapi::sub", Expr::sub);
    public static final PointwiseOp MUL = Pointwise.define("merapi::mul", Expr::mul);
    public static final PointwiseOp DIV = Pointwise.define("merapi::div", Expr::div);
    public static final PointwiseOp FLOOR_DIVIDE = Pointwise.define("merapi::floor_divide", Expr::floorDiv);
    public static final PointwiseOp REMAINDER = Pointwise.define("merapi::remainder", Expr::rem);
    public static final PointwiseOp FMOD = Pointwise.define("merapi::fmod", Expr::fmod);
    public static final PointwiseOp POW =
            Pointwise.define("merapi::pow", Expr::pow).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp MINIMUM = Pointwise.define("merapi::minimum", Expr::min);
    public static final PointwiseOp MAXIMUM = Pointwise.define("merapi::maximum", Expr::max);
    public static final PointwiseOp ATAN2 = Pointwise.define("merapi::atan2", Expr::atan2);
    public static final PointwiseOp COPYSIGN = Pointwise.define("merapi::copysign", Expr::copysign);

    /** x + s·y. */
    public static final PointwiseOp ADD_SCALED =
            Pointwise.define("merapi::add_scaled", (x, y, s) -> x.add(y.mul(s)), S);

    // ---------------------------------------------------------------- a tensor and a scalar

    public static final PointwiseOp ADD_SCALAR = Pointwise.define("merapi::add_scalar", Expr::add, S);
    public static final PointwiseOp SUB_SCALAR = Pointwise.define("merapi::sub_scalar", Expr::sub, S);
    public static final PointwiseOp RSUB_SCALAR = Pointwise.define("merapi::rsub_scalar", (x, s) -> s.sub(x), S);
    public static final PointwiseOp MUL_SCALAR = Pointwise.define("merapi::mul_scalar", Expr::mul, S);
    public static final PointwiseOp DIV_SCALAR = Pointwise.define("merapi::div_scalar", Expr::div, S);
    public static final PointwiseOp RDIV_SCALAR =
            Pointwise.define("merapi::rdiv_scalar", (x, s) -> s.div(x), S).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp FLOOR_DIVIDE_SCALAR =
            Pointwise.define("merapi::floor_divide_scalar", Expr::floorDiv, S);
    public static final PointwiseOp REMAINDER_SCALAR = Pointwise.define("merapi::remainder_scalar", Expr::rem, S);
    public static final PointwiseOp FMOD_SCALAR = Pointwise.define("merapi::fmod_scalar", Expr::fmod, S);
    public static final PointwiseOp POW_SCALAR =
            Pointwise.define("merapi::pow_scalar", Expr::pow, S).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp RPOW_SCALAR =
            Pointwise.define("merapi::rpow_scalar", (x, s) -> s.pow(x), S).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp MINIMUM_SCALAR = Pointwise.define("merapi::minimum_scalar", Expr::min, S);
    public static final PointwiseOp MAXIMUM_SCALAR = Pointwise.define("merapi::maximum_scalar", Expr::max, S);
    public static final PointwiseOp FILL = Pointwise.define("merapi::fill", (x, value) -> value, Param.scalar("value"));
    public static final PointwiseOp FILL_BOOL =
            Pointwise.define("merapi::fill_bool", (x, value) -> value.ne(0), Param.scalar("value"));

    // ---------------------------------------------------------------- one tensor

    public static final PointwiseOp NEG = Pointwise.define("merapi::neg", Expr::neg);
    public static final PointwiseOp ABS = Pointwise.define("merapi::abs", Expr::abs);
    public static final PointwiseOp SIGN = Pointwise.define("merapi::sign", Expr::sign);
    public static final PointwiseOp RECIPROCAL =
            Pointwise.define("merapi::reciprocal", Expr::reciprocal).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp SQUARE =
            Pointwise.define("merapi::square", Expr::square).autocast(CastPolicy.FLOAT32);

    // ---------------------------------------------------------------- bounds

    private static final Param LOW = Param.scalar("low");
    private static final Param HIGH = Param.scalar("high");

    public static final PointwiseOp CLAMP = Pointwise.define("merapi::clamp", Expr::clamp, LOW, HIGH);
    public static final PointwiseOp CLAMP_MIN =
            Pointwise.define("merapi::clamp_min", (x, low) -> x.clamp(low, null), LOW);
    public static final PointwiseOp CLAMP_MAX =
            Pointwise.define("merapi::clamp_max", (x, high) -> x.clamp(null, high), HIGH);
    /** Bounds that are tensors. */
    public static final PointwiseOp CLAMP_TENSOR = Pointwise.define("merapi::clamp_tensor", Expr::clamp);

    // ---------------------------------------------------------------- three tensors

    /** x·y + z with one rounding. */
    public static final PointwiseOp FMA = Pointwise.define("merapi::fma", Exprs::fma);

    /** x + s·y·z. */
    public static final PointwiseOp ADDCMUL = Pointwise.define(
            "merapi::addcmul",
            3,
            List.of(S),
            a -> a.get(0).add(a.get(3).mul(a.get(1)).mul(a.get(2))));

    /** x + s·y/z. */
    public static final PointwiseOp ADDCDIV = Pointwise.define(
            "merapi::addcdiv",
            3,
            List.of(S),
            a -> a.get(0).add(a.get(3).mul(a.get(1).div(a.get(2)))));

    public static final PointwiseOp LERP = Pointwise.define("merapi::lerp", Arithmetic::lerp);
    public static final PointwiseOp LERP_SCALAR =
            Pointwise.define("merapi::lerp_scalar", Arithmetic::lerp, Param.scalar("weight"));

    /** From the nearer end, so that a weight of 1 gives y exactly. */
    private static Expr lerp(Expr x, Expr y, Expr weight) {
        Expr step = y.sub(x);
        return weight.abs()
                .lt(0.5)
                .select(x.add(weight.mul(step)), y.sub(step.mul(Expr.constant(1).sub(weight))));
    }
}
