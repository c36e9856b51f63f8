// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.op.CastPolicy;

/** Roots, exponentials, logarithms, trigonometry, rounding. Integers become float32, except for rounding. */
public final class Elementary {
    private Elementary() {}

    public static final PointwiseOp SQRT = Pointwise.define("merapi::sqrt", Expr::sqrt);
    public static final PointwiseOp RSQRT =
            Pointwise.define("merapi::rsqrt", Expr::rsqrt).autocast(CastPolicy.FLOAT32);

    public static final PointwiseOp EXP =
            Pointwise.define("merapi::exp", Expr::exp).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp EXPM1 =
            Pointwise.define("merapi::expm1", Expr::expm1).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp EXP2 =
            Pointwise.define("merapi::exp2", Expr::exp2).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp LOG =
            Pointwise.define("merapi::log", Expr::log).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp LOG1P =
            Pointwise.define("merapi::log1p", Expr::log1p).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp LOG2 =
            Pointwise.define("merapi::log2", Expr::log2).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp LOG10 =
            Pointwise.define("merapi::log10", Expr::log10).autocast(CastPolicy.FLOAT32);

    public static final PointwiseOp SIN = Pointwise.define("merapi::sin", Expr::sin);
    public static final PointwiseOp COS = Pointwise.define("merapi::cos", Expr::cos);
    public static final PointwiseOp TAN =
            Pointwise.define("merapi::tan", Expr::tan).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp ASIN =
            Pointwise.define("merapi::asin", Expr::asin).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp ACOS =
            Pointwise.define("merapi::acos", Expr::acos).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp ATAN = Pointwise.define("merapi::atan", Expr::atan);
    public static final PointwiseOp SINH =
            Pointwise.define("merapi::sinh", Expr::sinh).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp COSH =
            Pointwise.define("merapi::cosh", Expr::cosh).autocast(CastPolicy.FLOAT32);
    public static final PointwiseOp TANH = Pointwise.define("merapi::tanh", Expr::tanh);
    public static final PointwiseOp ASINH = Pointwise.define("merapi::asinh", Expr::asinh);
    public static final PointwiseOp ACOSH = Pointwise.define("merapi::acosh", Expr::acosh);
    public static final PointwiseOp ATANH = Pointwise.define("merapi::atanh", Expr::atanh);

    public static final PointwiseOp ERF = Pointwise.define("merapi::erf", Expr::erf);
    public static final PointwiseOp ERFC = Pointwise.define("merapi::erfc", Expr::erfc);

    public static final PointwiseOp FLOOR = Pointwise.define("merapi::floor", Expr::floor);
    public static final PointwiseOp CEIL = Pointwise.define("merapi::ceil", Expr::ceil);
    public static final PointwiseOp ROUND = Pointwise.define("merapi::round", Expr::round);
    public static final PointwiseOp TRUNC = Pointwise.define("merapi::trunc", Expr::trunc);
}
