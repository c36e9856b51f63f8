// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.ir.Algebra.ONE;
import static dev.merapi.expr.ir.Algebra.ZERO;
import static dev.merapi.expr.ir.Algebra.add;
import static dev.merapi.expr.ir.Algebra.div;
import static dev.merapi.expr.ir.Algebra.mul;
import static dev.merapi.expr.ir.Algebra.neg;
import static dev.merapi.expr.ir.Algebra.number;
import static dev.merapi.expr.ir.Algebra.select;
import static dev.merapi.expr.ir.Algebra.sub;

import dev.merapi.expr.Expr;
import dev.merapi.expr.NamedFunction;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Derivatives whose textbook form loses digits: by cancellation where a function saturates (1 − tanh² at 5 has two digits
 * left in float32, and in bfloat16 none), or by squares that overflow. They take the input, never the rounded result.
 */
public final class Slopes {
    private static final double ONE_OVER_SQRT_TWO_PI = 1 / Math.sqrt(2 * Math.PI);
    /** From here on 1 + x² is x² in every dtype. */
    private static final double SQUARES_ONLY = 1e10;

    /** σ(x)·σ(−x), the slope of the sigmoid, as e/(1 + e)² with e = exp(−|x|). */
    private static final NamedFunction BELL = NamedFunction.define(
            "bell",
            1,
            a -> {
                Expr e = neg(a.get(0).abs()).exp();
                return div(e, add(e, ONE).square());
            },
            (a, y, g) -> List.of(neg(mul(mul(g, y), mul(number(0.5), a.get(0)).tanh()))));

    /** The larger of two magnitudes, taken as a constant: what it scales by does not depend on it. */
    private static final NamedFunction SCALE = NamedFunction.define(
            "scale", 2, a -> a.get(0).abs().max(a.get(1).abs()), (a, y, g) -> Arrays.asList(null, null));

    /** Without the rounding of x², and with a derivative that does not come as ∞ · 0 at ±1. */
    private static final NamedFunction ONE_MINUS_SQUARE = NamedFunction.define(
            "one_minus_square",
            1,
            a -> mul(sub(ONE, a.get(0)), add(a.get(0), ONE)),
            (a, y, g) -> List.of(mul(number(-2), mul(g, a.get(0)))));

    /** What b − 1 has lost to rounding. */
    private static final NamedFunction LOST = NamedFunction.define(
            "lost",
            1,
            a -> {
                Expr b = a.get(0);
                Expr rounded = b.sub(1);
                return b.abs()
                        .lt(1)
                        .select(b.sub(rounded.add(1)), Expr.constant(-1).sub(rounded.sub(b)));
            },
            (a, y, g) -> Collections.singletonList(null));

    private Slopes() {}

    static Expr oneMinusSquare(Expr x) {
        return ONE_MINUS_SQUARE.call(x);
    }

    /** b · a^(b − 1), times a^(what b − 1 has lost). */
    static Expr pow(Expr a, Expr b) {
        Expr lost = LOST.call(b);
        Expr none = lost.eq(0).or(a.eq(0)).or(a.isInf());
        Expr rest = select(none, ZERO, mul(lost, a.abs().log()));
        return mul(mul(b, a.pow(b.sub(1))), rest.exp());
    }

    static Expr sigmoid(Expr x) {
        return BELL.call(x);
    }

    static Expr tanh(Expr x) {
        return mul(number(4), BELL.call(mul(number(2), x)));
    }

    /** 1/√(1 + x²) */
    static Expr asinh(Expr x) {
        Expr a = x.abs();
        return select(a.gt(SQUARES_ONLY), a.reciprocal(), add(x.square(), ONE).rsqrt());
    }

    /** 1/√(x² − 1), and NaN below 1. */
    static Expr acosh(Expr x) {
        return mul(sub(x, ONE).rsqrt(), add(x, ONE).rsqrt());
    }

    /** x/(x² + y²) and −y/(x² + y²) for atan2(y, x), as far as they depend on which is larger; 0 at the origin. */
    static List<@Nullable Expr> atan2(Expr y, Expr x, Expr g) {
        Expr m = SCALE.call(y, x);
        Expr u = div(y, m);
        Expr v = div(x, m);
        Expr scaled = div(g, mul(m, add(u.square(), v.square())));
        Expr none = m.eq(0.0).or(m.isInf());
        return Arrays.asList(select(none, ZERO, mul(scaled, v)), select(none, ZERO, neg(mul(scaled, u))));
    }

    private static final NamedFunction MISH = NamedFunction.define(
            "mish",
            1,
            a -> a.get(0).max(-1e4).mul(a.get(0).softplus().tanh()), // not −∞ · 0
            (a, y, g) -> List.of(mul(g, mishSlope(a.get(0)))));

    public static Expr mish(Expr x) {
        return MISH.call(x);
    }

    /** eˣ(4(x + 1) + 4e²ˣ + e³ˣ + eˣ(4x + 6)) / (2eˣ + e²ˣ + 2)², where that is not yet 0 or 1. */
    private static Expr mishSlope(Expr x) {
        Expr z = x.clamp(number(-1e4), number(22));
        Expr n = z.exp();
        Expr inner = mul(n, add(mul(n, add(n, number(4))), add(mul(number(4), z), number(6))));
        Expr above = add(mul(number(4), add(z, ONE)), inner);
        Expr below = add(mul(n, add(n, number(2))), number(2));
        return mul(div(n, below), div(above, below));
    }

    // ---------------------------------------------------------------- second derivatives

    /** φ(x)(2 − x²), with x² bounded where φ has vanished: else ∞ · 0. */
    static Expr geluGrad(Expr x) {
        Expr squared = x.square().clamp(null, number(2000));
        return mul(number(ONE_OVER_SQRT_TWO_PI), mul(mul(number(-0.5), squared).exp(), sub(number(2), squared)));
    }

    /** With t = tanh u: (1 − t²)(u′ + x u″/2 − x t u′²); x is bounded where 1 − t² has vanished. */
    static Expr geluTanhGrad(Expr x) {
        double k = Math.sqrt(2 / Math.PI);
        double cubic = 0.044715;
        Expr z = x.clamp(number(-20), number(20));
        Expr squared = z.square();
        Expr u = mul(mul(number(k), z), add(mul(number(cubic), squared), ONE));
        Expr slope = add(mul(number(3 * cubic * k), squared), number(k));
        Expr bend = mul(number(3 * cubic * k), squared);
        Expr inner = sub(add(slope, bend), mul(mul(z, u.tanh()), slope.square()));
        return mul(tanh(u), inner);
    }

    /** σ(1 − σ)(2 − x tanh(x/2)); x is bounded where σ(1 − σ) has vanished. */
    static Expr siluGrad(Expr x) {
        Expr z = x.clamp(number(-800), number(800));
        return mul(BELL.call(z), sub(number(2), mul(z, mul(number(0.5), z).tanh())));
    }
}
