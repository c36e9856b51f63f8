// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.NamedFunction;
import dev.merapi.op.CastPolicy;
import java.util.List;

/** Roots, exponentials, logarithms, trigonometry, rounding. Integers become float32, except for rounding. */
public final class Elementary {
    private Elementary() {}

    /** √x; NaN below 0. */
    public static final PointwiseOp SQRT = Pointwise.define("merapi::sqrt", Expr::sqrt);
    /** 1/√x: infinite at 0, NaN below; under autocast in float32. */
    public static final PointwiseOp RSQRT =
            Pointwise.define("merapi::rsqrt", Expr::rsqrt).autocast(CastPolicy.FLOAT32);

    /** eˣ; under autocast in float32. */
    public static final PointwiseOp EXP =
            Pointwise.define("merapi::exp", Expr::exp).autocast(CastPolicy.FLOAT32);
    /** eˣ − 1, with all digits near 0; under autocast in float32. */
    public static final PointwiseOp EXPM1 =
            Pointwise.define("merapi::expm1", Expr::expm1).autocast(CastPolicy.FLOAT32);
    /** 2ˣ; under autocast in float32. */
    public static final PointwiseOp EXP2 =
            Pointwise.define("merapi::exp2", Expr::exp2).autocast(CastPolicy.FLOAT32);
    /** The natural logarithm: −∞ at 0, NaN below; under autocast in float32. */
    public static final PointwiseOp LOG =
            Pointwise.define("merapi::log", Expr::log).autocast(CastPolicy.FLOAT32);
    /** log(1 + x), with all digits near 0; under autocast in float32. */
    public static final PointwiseOp LOG1P =
            Pointwise.define("merapi::log1p", Expr::log1p).autocast(CastPolicy.FLOAT32);
    /** The logarithm to base 2, exact at powers of two; under autocast in float32. */
    public static final PointwiseOp LOG2 =
            Pointwise.define("merapi::log2", Expr::log2).autocast(CastPolicy.FLOAT32);
    /** The logarithm to base 10; under autocast in float32. */
    public static final PointwiseOp LOG10 =
            Pointwise.define("merapi::log10", Expr::log10).autocast(CastPolicy.FLOAT32);

    /** The sine of x radians. */
    public static final PointwiseOp SIN = Pointwise.define("merapi::sin", Expr::sin);
    /** The cosine of x radians. */
    public static final PointwiseOp COS = Pointwise.define("merapi::cos", Expr::cos);
    /** The tangent of x radians; under autocast in float32. */
    public static final PointwiseOp TAN =
            Pointwise.define("merapi::tan", Expr::tan).autocast(CastPolicy.FLOAT32);
    /** The inverse of the sine, in [−π/2, π/2]; NaN beyond [−1, 1]; under autocast in float32. */
    public static final PointwiseOp ASIN =
            Pointwise.define("merapi::asin", Expr::asin).autocast(CastPolicy.FLOAT32);
    /** The inverse of the cosine, in [0, π]; NaN beyond [−1, 1]; under autocast in float32. */
    public static final PointwiseOp ACOS =
            Pointwise.define("merapi::acos", Expr::acos).autocast(CastPolicy.FLOAT32);
    /** The inverse of the tangent, in [−π/2, π/2]. */
    public static final PointwiseOp ATAN = Pointwise.define("merapi::atan", Expr::atan);
    /** (eˣ − e⁻ˣ)/2; under autocast in float32. */
    public static final PointwiseOp SINH =
            Pointwise.define("merapi::sinh", Expr::sinh).autocast(CastPolicy.FLOAT32);
    /** (eˣ + e⁻ˣ)/2; under autocast in float32. */
    public static final PointwiseOp COSH =
            Pointwise.define("merapi::cosh", Expr::cosh).autocast(CastPolicy.FLOAT32);
    /** sinh x/cosh x, from −1 to 1. */
    public static final PointwiseOp TANH = Pointwise.define("merapi::tanh", Expr::tanh);
    /** The inverse of {@link #SINH}. */
    public static final PointwiseOp ASINH = Pointwise.define("merapi::asinh", Expr::asinh);
    /** The inverse of {@link #COSH} that is not negative; NaN below 1. */
    public static final PointwiseOp ACOSH = Pointwise.define("merapi::acosh", Expr::acosh);
    /** The inverse of {@link #TANH}: ±∞ at ±1, NaN beyond. */
    public static final PointwiseOp ATANH = Pointwise.define("merapi::atanh", Expr::atanh);

    /** 2/√π·∫₀ˣ exp(−t²) dt. */
    public static final PointwiseOp ERF = Pointwise.define("merapi::erf", Expr::erf);
    /** 1 − erf x, with all digits where that is small. */
    public static final PointwiseOp ERFC = Pointwise.define("merapi::erfc", Expr::erfc);

    /** The largest whole number that is not above x; the gradient is 0. */
    public static final PointwiseOp FLOOR = Pointwise.define("merapi::floor", Expr::floor);
    /** The smallest whole number that is not below x; the gradient is 0. */
    public static final PointwiseOp CEIL = Pointwise.define("merapi::ceil", Expr::ceil);
    /** The nearest whole number, of two the even one; the gradient is 0. */
    public static final PointwiseOp ROUND = Pointwise.define("merapi::round", Expr::round);
    /** x rounded towards 0; the gradient is 0. */
    public static final PointwiseOp TRUNC = Pointwise.define("merapi::trunc", Expr::trunc);
    /** What lies behind the point, with the sign of x. */
    public static final PointwiseOp FRAC = Pointwise.define("merapi::frac", x -> x.sub(x.trunc()));

    /** x·π/180. */
    public static final PointwiseOp DEG2RAD = Pointwise.define("merapi::deg2rad", x -> x.mul(Math.PI / 180));
    /** x·180/π. */
    public static final PointwiseOp RAD2DEG = Pointwise.define("merapi::rad2deg", x -> x.mul(180 / Math.PI));

    private static final NamedFunction LOGIT_FUNCTION = NamedFunction.define(
            "logit", 1, a -> a.get(0).div(Expr.constant(1).sub(a.get(0))).log(), (a, y, g) -> {
                Expr x = a.get(0);
                Expr inside = x.ge(0).and(x.le(1));
                Expr slope = g.div(x.mul(Expr.constant(1).sub(x)));
                return List.of(inside.select(slope, Expr.constant(Double.NaN)));
            });

    /** log(x / (1 − x)), the inverse of the sigmoid. */
    public static final PointwiseOp LOGIT =
            Pointwise.define("merapi::logit", x -> LOGIT_FUNCTION.call(x)).autocast(CastPolicy.FLOAT32);

    /** sin(πx)/(πx), and 1 at 0. */
    public static final PointwiseOp SINC = Pointwise.define("merapi::sinc", Elementary::sinc);

    /**
     * Near 0 by its series, so that derivatives lose no digits there; elsewhere by a sine whose argument is reduced before π
     * rounds it.
     */
    private static Expr sinc(Expr x) {
        Expr small = x.abs().lt(0.5);
        Expr square = small.select(x, Expr.constant(0.0)).square();
        double factor = 1; // (−1)ᵏ π²ᵏ / (2k + 1)!, so that π rounds nothing
        double[] factors = new double[13];
        for (int k = 1; k < factors.length; k++) {
            factor *= -Math.PI * Math.PI / (2 * k * (2 * k + 1));
            factors[k] = factor;
        }
        Expr series = Expr.constant(factors[factors.length - 1]);
        for (int k = factors.length - 2; k > 0; k--) {
            series = series.mul(square).add(factors[k]);
        }
        series = series.mul(square);
        Expr turned = x.sub(x.mul(0.5).round().mul(2)); // in [-1, 1], exactly
        Expr folded = turned.gt(0.5)
                .select(
                        Expr.constant(1).sub(turned),
                        turned.lt(-0.5).select(Expr.constant(-1).sub(turned), turned));
        Expr far = small.select(Expr.constant(1.0), x);
        return small.select(series.add(1), folded.mul(Math.PI).sin().div(far.mul(Math.PI)));
    }
}
