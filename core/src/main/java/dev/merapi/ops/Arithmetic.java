// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.expr.NamedFunction;
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

    /** x + y; of bools, or. */
    public static final PointwiseOp ADD = Pointwise.define("merapi::add", Expr::add);
    /** x − y; not for bools. */
    public static final PointwiseOp SUB = Pointwise.define("merapi::sub", Expr::sub);
    /** x·y; of bools, and. */
    public static final PointwiseOp MUL = Pointwise.define("merapi::mul", Expr::mul);
    /** x/y, floating: integers give float32, and infinity or NaN by 0. */
    public static final PointwiseOp DIV = Pointwise.define("merapi::div", Expr::div);
    /** ⌊x/y⌋ in the promoted dtype; integers by 0 give 0, and the gradient is 0. */
    public static final PointwiseOp FLOOR_DIVIDE = Pointwise.define("merapi::floor_divide", Expr::floorDiv);
    /** x − y·⌊x/y⌋, with the sign of y as in Python; integers by 0 give 0. */
    public static final PointwiseOp REMAINDER = Pointwise.define("merapi::remainder", Expr::rem);
    /** x − y·trunc(x/y), with the sign of x as in C; integers by 0 give 0. */
    public static final PointwiseOp FMOD = Pointwise.define("merapi::fmod", Expr::fmod);
    /** x to the power of y; integers to a negative power give 0, but for 1 and −1; under autocast in float32. */
    public static final PointwiseOp POW =
            Pointwise.define("merapi::pow", Expr::pow).autocast(CastPolicy.FLOAT32);
    /** The smaller of both; NaN wins, and ties share the gradient. */
    public static final PointwiseOp MINIMUM = Pointwise.define("merapi::minimum", Expr::min);
    /** The larger of both; NaN wins, and ties share the gradient. */
    public static final PointwiseOp MAXIMUM = Pointwise.define("merapi::maximum", Expr::max);
    /** The angle of the point (y, x), the first operand being the ordinate, in [−π, π]. */
    public static final PointwiseOp ATAN2 = Pointwise.define("merapi::atan2", Expr::atan2);
    /** |x| with the sign of y, which gets no gradient. */
    public static final PointwiseOp COPYSIGN = Pointwise.define("merapi::copysign", Expr::copysign);

    /** The quotient rounded towards 0. */
    public static final PointwiseOp TRUNC_DIVIDE = Pointwise.define("merapi::trunc_divide", Expr::truncDiv);

    private static final NamedFunction HYPOTENUSE = NamedFunction.define(
            "hypotenuse",
            2,
            a -> {
                Expr x = a.get(0).abs();
                Expr y = a.get(1).abs();
                Expr most = x.max(y);
                Expr scaled =
                        x.div(most).square().add(y.div(most).square()).sqrt().mul(most);
                Expr infinite = x.isInf().or(y.isInf());
                return infinite.select(
                        Expr.constant(Double.POSITIVE_INFINITY), most.eq(0).select(most, scaled));
            },
            (a, y, g) -> {
                Expr none = y.eq(0);
                Expr zero = Expr.constant(0.0);
                Expr by = none.select(Expr.constant(1.0), y);
                return List.of(
                        none.select(zero, g.mul(a.get(0).div(by))),
                        none.select(zero, g.mul(a.get(1).div(by))));
            });

    /** √(x² + y²) without overflow; its gradients at the origin are 0. */
    public static final PointwiseOp HYPOT = Pointwise.define("merapi::hypot", (x, y) -> HYPOTENUSE.call(x, y));

    /** 0 below 0, 1 above, and y at 0. */
    public static final PointwiseOp HEAVISIDE = Pointwise.define(
            "merapi::heaviside", (x, y) -> x.eq(0).select(y, x.gt(0).select(Expr.constant(1), Expr.constant(0))));

    private static final NamedFunction PRODUCT_WITH_LOG = NamedFunction.define(
            "product_with_log",
            2,
            a -> {
                Expr vanishes = a.get(0).eq(0).and(a.get(1).eq(a.get(1)));
                return vanishes.select(Expr.constant(0.0), a.get(0).mul(a.get(1).log()));
            },
            (a, y, g) -> {
                Expr vanishes = a.get(0).eq(0).and(a.get(1).le(0));
                return List.of(
                        vanishes.select(Expr.constant(0.0), g.mul(a.get(1).log())),
                        g.mul(a.get(0)).div(a.get(1)));
            });

    /** x·log y, and 0 where x is 0 and y is a number. */
    public static final PointwiseOp XLOGY = Pointwise.define("merapi::xlogy", (x, y) -> PRODUCT_WITH_LOG.call(x, y))
            .autocast(CastPolicy.FLOAT32);

    private static final NamedFunction LOG_OF_SUM = NamedFunction.define(
            "log_of_sum",
            2,
            a -> {
                Expr most = a.get(0).max(a.get(1));
                Expr rest = a.get(0).sub(a.get(1)).abs().neg().exp().log1p();
                return sameInfinity(a).select(a.get(0), most.add(rest));
            },
            (a, y, g) -> {
                Expr d = a.get(0).sub(a.get(1));
                return List.of(g.mul(d.sigmoid()), g.mul(d.neg().sigmoid()));
            });

    private static final NamedFunction LOG2_OF_SUM = NamedFunction.define(
            "log2_of_sum",
            2,
            a -> {
                Expr most = a.get(0).max(a.get(1));
                Expr rest = a.get(0).sub(a.get(1)).abs().neg().exp2().log1p().div(Math.log(2));
                return sameInfinity(a).select(a.get(0), most.add(rest));
            },
            (a, y, g) -> {
                Expr d = a.get(0).sub(a.get(1)).mul(Math.log(2));
                return List.of(g.mul(d.sigmoid()), g.mul(d.neg().sigmoid()));
            });

    /** Where the difference of both is not a number, though they are. */
    private static Expr sameInfinity(List<Expr> a) {
        return a.get(0).eq(a.get(1)).and(a.get(0).isInf());
    }

    /** log(eˣ + eʸ) without overflow. */
    public static final PointwiseOp LOGADDEXP = Pointwise.define("merapi::logaddexp", (x, y) -> LOG_OF_SUM.call(x, y))
            .autocast(CastPolicy.FLOAT32);
    /** log₂(2ˣ + 2ʸ) without overflow. */
    public static final PointwiseOp LOGADDEXP2 = Pointwise.define(
                    "merapi::logaddexp2", (x, y) -> LOG2_OF_SUM.call(x, y))
            .autocast(CastPolicy.FLOAT32);

    /** x + s·y. */
    public static final PointwiseOp ADD_SCALED =
            Pointwise.define("merapi::add_scaled", (x, y, s) -> x.add(y.mul(s)), S);

    // ---------------------------------------------------------------- a tensor and a scalar

    /** x + s. */
    public static final PointwiseOp ADD_SCALAR = Pointwise.define("merapi::add_scalar", Expr::add, S);
    /** x − s; not for bools. */
    public static final PointwiseOp SUB_SCALAR = Pointwise.define("merapi::sub_scalar", Expr::sub, S);
    /** s − x; not for bools. */
    public static final PointwiseOp RSUB_SCALAR = Pointwise.define("merapi::rsub_scalar", (x, s) -> s.sub(x), S);
    /** x·s. */
    public static final PointwiseOp MUL_SCALAR = Pointwise.define("merapi::mul_scalar", Expr::mul, S);
    /** x/s, floating. */
    public static final PointwiseOp DIV_SCALAR = Pointwise.define("merapi::div_scalar", Expr::div, S);
    /** s/x, floating; under autocast in float32. */
    public static final PointwiseOp RDIV_SCALAR =
            Pointwise.define("merapi::rdiv_scalar", (x, s) -> s.div(x), S).autocast(CastPolicy.FLOAT32);
    /** ⌊x/s⌋, as {@link #FLOOR_DIVIDE}. */
    public static final PointwiseOp FLOOR_DIVIDE_SCALAR =
            Pointwise.define("merapi::floor_divide_scalar", Expr::floorDiv, S);
    /** trunc(x/s), as {@link #TRUNC_DIVIDE}. */
    public static final PointwiseOp TRUNC_DIVIDE_SCALAR =
            Pointwise.define("merapi::trunc_divide_scalar", Expr::truncDiv, S);
    /** x − s·⌊x/s⌋, as {@link #REMAINDER}. */
    public static final PointwiseOp REMAINDER_SCALAR = Pointwise.define("merapi::remainder_scalar", Expr::rem, S);
    /** x − s·trunc(x/s), as {@link #FMOD}. */
    public static final PointwiseOp FMOD_SCALAR = Pointwise.define("merapi::fmod_scalar", Expr::fmod, S);
    /** x to the power of s, as {@link #POW}. */
    public static final PointwiseOp POW_SCALAR =
            Pointwise.define("merapi::pow_scalar", Expr::pow, S).autocast(CastPolicy.FLOAT32);
    /** s to the power of x; under autocast in float32. */
    public static final PointwiseOp RPOW_SCALAR =
            Pointwise.define("merapi::rpow_scalar", (x, s) -> s.pow(x), S).autocast(CastPolicy.FLOAT32);
    /** The smaller of x and s; NaN wins. */
    public static final PointwiseOp MINIMUM_SCALAR = Pointwise.define("merapi::minimum_scalar", Expr::min, S);
    /** The larger of x and s; NaN wins. */
    public static final PointwiseOp MAXIMUM_SCALAR = Pointwise.define("merapi::maximum_scalar", Expr::max, S);
    /** The value, whatever x is: {@code fill_} writes it in place. */
    public static final PointwiseOp FILL = Pointwise.define("merapi::fill", (x, value) -> value, Param.scalar("value"));
    /** Whether the value is not 0, whatever x is: {@code fill_} of bools. */
    public static final PointwiseOp FILL_BOOL =
            Pointwise.define("merapi::fill_bool", (x, value) -> value.ne(0), Param.scalar("value"));

    // ---------------------------------------------------------------- one tensor

    /** −x; not for bools. */
    public static final PointwiseOp NEG = Pointwise.define("merapi::neg", Expr::neg);
    /** |x|; the gradient at 0 is 0. */
    public static final PointwiseOp ABS = Pointwise.define("merapi::abs", Expr::abs);
    /** −1, 0 or 1, and NaN of NaN; the gradient is 0. */
    public static final PointwiseOp SIGN = Pointwise.define("merapi::sign", Expr::sign);
    /** 1/x, floating; under autocast in float32. */
    public static final PointwiseOp RECIPROCAL =
            Pointwise.define("merapi::reciprocal", Expr::reciprocal).autocast(CastPolicy.FLOAT32);
    /** x², where integers wrap; under autocast in float32. */
    public static final PointwiseOp SQUARE =
            Pointwise.define("merapi::square", Expr::square).autocast(CastPolicy.FLOAT32);

    /** Other numbers in the place of NaN, of ∞ and of −∞; there the gradient is 0. */
    public static final PointwiseOp NAN_TO_NUM = Pointwise.define(
            "merapi::nan_to_num",
            1,
            List.of(Param.scalar("nan"), Param.scalar("posInf"), Param.scalar("negInf")),
            a -> {
                Expr x = a.get(0);
                Expr bounded = x.eq(Expr.constant(Double.NEGATIVE_INFINITY)).select(a.get(3), x);
                Expr below = x.eq(Expr.constant(Double.POSITIVE_INFINITY)).select(a.get(2), bounded);
                return x.ne(x).select(a.get(1), below);
            });

    // ---------------------------------------------------------------- bounds

    private static final Param LOW = Param.scalar("low");
    private static final Param HIGH = Param.scalar("high");

    /** min(max(x, low), high); the gradient passes within the bounds and on them. */
    public static final PointwiseOp CLAMP = Pointwise.define("merapi::clamp", Expr::clamp, LOW, HIGH);
    /** max(x, low); the gradient passes from the bound on. */
    public static final PointwiseOp CLAMP_MIN =
            Pointwise.define("merapi::clamp_min", (x, low) -> x.clamp(low, null), LOW);
    /** min(x, high); the gradient passes up to the bound. */
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

    /** x + weight·(y − x), of three tensors; exactly y for a weight of 1. */
    public static final PointwiseOp LERP = Pointwise.define("merapi::lerp", Arithmetic::lerp);
    /** x + weight·(y − x), with one weight for all. */
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
