// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import static dev.merapi.expr.Expr.constant;

import dev.merapi.expr.ir.Apply;
import dev.merapi.expr.ir.Opcode;
import dev.merapi.expr.ir.Slopes;

/** The functions of expressions, for static import: {@code x.mul(sigmoid(x))}. */
public final class Exprs {
    private Exprs() {}

    /**
     * {@code a} where the condition is true (not zero), else {@code b}; no gradient reaches the branch not taken.
     *
     * @param condition true where it is not zero; its dtype does not count
     * @param a where the condition holds
     * @param b elsewhere; promoted with a
     * @return a or b
     */
    public static Expr where(Expr condition, Expr a, Expr b) {
        return condition.select(a, b);
    }

    /**
     * {@link #where(Expr, Expr, Expr)} with a weak constant.
     *
     * @param condition true where it is not zero
     * @param a where the condition holds
     * @param b elsewhere; beside integers the choice is one of float32
     * @return a or b
     */
    public static Expr where(Expr condition, Expr a, double b) {
        return condition.select(a, constant(b));
    }

    /**
     * {@link #where(Expr, Expr, Expr)} with a weak constant.
     *
     * @param condition true where it is not zero
     * @param a where the condition holds; beside integers the choice is one of float32
     * @param b elsewhere
     * @return a or b
     */
    public static Expr where(Expr condition, double a, Expr b) {
        return condition.select(constant(a), b);
    }

    /**
     * {@link #where(Expr, Expr, Expr)} of weak constants.
     *
     * @param condition true where it is not zero
     * @param a where the condition holds
     * @param b elsewhere
     * @return a or b, a weak number that takes on the dtype of the floats that it meets
     */
    public static Expr where(Expr condition, double a, double b) {
        return condition.select(constant(a), constant(b));
    }

    /**
     * {@link Expr#max(Expr)} as a function.
     *
     * @param a one of both
     * @param b the other, promoted with it
     * @return the larger; NaN wins, and ties share the gradient
     */
    public static Expr max(Expr a, Expr b) {
        return a.max(b);
    }

    /**
     * {@link Expr#max(double)} as a function.
     *
     * @param a one of both
     * @param b a weak constant
     * @return the larger; NaN wins
     */
    public static Expr max(Expr a, double b) {
        return a.max(b);
    }

    /**
     * {@link Expr#min(Expr)} as a function.
     *
     * @param a one of both
     * @param b the other, promoted with it
     * @return the smaller; NaN wins, and ties share the gradient
     */
    public static Expr min(Expr a, Expr b) {
        return a.min(b);
    }

    /**
     * {@link Expr#min(double)} as a function.
     *
     * @param a one of both
     * @param b a weak constant
     * @return the smaller; NaN wins
     */
    public static Expr min(Expr a, double b) {
        return a.min(b);
    }

    /**
     * {@link Expr#pow(Expr)} as a function.
     *
     * @param base what is raised
     * @param exponent promoted with it
     * @return base^exponent
     */
    public static Expr pow(Expr base, Expr exponent) {
        return base.pow(exponent);
    }

    /**
     * {@link Expr#pow(double)} as a function.
     *
     * @param base what is raised; integers become float32
     * @param exponent a weak constant
     * @return base^exponent
     */
    public static Expr pow(Expr base, double exponent) {
        return base.pow(exponent);
    }

    /**
     * {@link Expr#atan2} as a function, in its order: ordinate first.
     *
     * @param y the ordinate
     * @param x the abscissa
     * @return the angle of the point (x, y) in [−π, π]; its gradients at the origin and at infinity are 0
     */
    public static Expr atan2(Expr y, Expr x) {
        return y.atan2(x);
    }

    /**
     * {@link Expr#copysign} as a function.
     *
     * @param magnitude whose absolute value is taken
     * @param sign whose sign is taken; it gets no gradient
     * @return |magnitude| or −|magnitude|, floating
     */
    public static Expr copysign(Expr magnitude, Expr sign) {
        return magnitude.copysign(sign);
    }

    /**
     * A fused multiply-add.
     *
     * @param a a factor
     * @param b the other, promoted with it
     * @param c added to the product
     * @return a·b + c with one rounding; integers wrap, and bools are refused
     */
    public static Expr fma(Expr a, Expr b, Expr c) {
        return Apply.of(Opcode.FMA, a, b, c);
    }

    /**
     * {@link Expr#clamp} as a function.
     *
     * @param x what is bounded
     * @param low the lower bound
     * @param high the upper bound, which wins where it is below {@code low}
     * @return min(max(x, low), high)
     */
    public static Expr clamp(Expr x, Expr low, Expr high) {
        return x.clamp(low, high);
    }

    /**
     * {@link Expr#clamp} between constants.
     *
     * @param x what is bounded; integers become float32
     * @param low the lower bound
     * @param high the upper bound, which wins where it is below {@code low}
     * @return min(max(x, low), high); the gradient passes within the bounds and on them
     */
    public static Expr clamp(Expr x, double low, double high) {
        return x.clamp(constant(low), constant(high));
    }

    /**
     * {@link Expr#abs} as a function.
     *
     * @param x any number
     * @return |x|; the gradient at 0 is 0
     */
    public static Expr abs(Expr x) {
        return Apply.of(Opcode.ABS, x);
    }

    /**
     * {@link Expr#sign} as a function.
     *
     * @param x any number
     * @return −1, 0 or 1; NaN of NaN
     */
    public static Expr sign(Expr x) {
        return Apply.of(Opcode.SIGN, x);
    }

    /**
     * {@link Expr#square} as a function.
     *
     * @param x any number; integers wrap
     * @return x·x
     */
    public static Expr square(Expr x) {
        return Apply.of(Opcode.SQUARE, x);
    }

    /**
     * {@link Expr#floor} as a function.
     *
     * @param x any number; integers stay as they are
     * @return x rounded down; the gradient is 0
     */
    public static Expr floor(Expr x) {
        return Apply.of(Opcode.FLOOR, x);
    }

    /**
     * {@link Expr#ceil} as a function.
     *
     * @param x any number; integers stay as they are
     * @return x rounded up; the gradient is 0
     */
    public static Expr ceil(Expr x) {
        return Apply.of(Opcode.CEIL, x);
    }

    /**
     * {@link Expr#round} as a function.
     *
     * @param x any number; integers stay as they are
     * @return the nearest whole number, of two the even one; the gradient is 0
     */
    public static Expr round(Expr x) {
        return Apply.of(Opcode.ROUND, x);
    }

    /**
     * {@link Expr#trunc} as a function.
     *
     * @param x any number; integers stay as they are
     * @return x rounded towards 0; the gradient is 0
     */
    public static Expr trunc(Expr x) {
        return Apply.of(Opcode.TRUNC, x);
    }

    /**
     * {@link Expr#reciprocal} as a function.
     *
     * @param x integers become float32
     * @return 1/x
     */
    public static Expr reciprocal(Expr x) {
        return Apply.of(Opcode.RECIPROCAL, x);
    }

    /**
     * {@link Expr#sqrt} as a function.
     *
     * @param x below 0 the result is NaN
     * @return √x
     */
    public static Expr sqrt(Expr x) {
        return Apply.of(Opcode.SQRT, x);
    }

    /**
     * {@link Expr#rsqrt} as a function.
     *
     * @param x at 0 the result is infinite, below NaN
     * @return 1/√x
     */
    public static Expr rsqrt(Expr x) {
        return Apply.of(Opcode.RSQRT, x);
    }

    /**
     * {@link Expr#exp} as a function.
     *
     * @param x integers become float32
     * @return eˣ
     */
    public static Expr exp(Expr x) {
        return Apply.of(Opcode.EXP, x);
    }

    /**
     * {@link Expr#log} as a function.
     *
     * @param x at 0 the result is −∞, below NaN
     * @return the natural logarithm of x
     */
    public static Expr log(Expr x) {
        return Apply.of(Opcode.LOG, x);
    }

    /**
     * {@link Expr#tanh} as a function.
     *
     * @param x integers become float32
     * @return the hyperbolic tangent of x
     */
    public static Expr tanh(Expr x) {
        return Apply.of(Opcode.TANH, x);
    }

    /**
     * {@link Expr#sigmoid} as a function.
     *
     * @param x integers become float32
     * @return 1/(1 + e⁻ˣ), without overflow
     */
    public static Expr sigmoid(Expr x) {
        return Apply.of(Opcode.SIGMOID, x);
    }

    /**
     * {@link Expr#relu} as a function.
     *
     * @param x any number
     * @return max(x, 0); NaN stays, and the gradient at 0 is 0
     */
    public static Expr relu(Expr x) {
        return Apply.of(Opcode.RELU, x);
    }

    /**
     * {@link Expr#not} as a function.
     *
     * @param x of any dtype
     * @return whether x is zero, as bool
     */
    public static Expr not(Expr x) {
        return Apply.of(Opcode.NOT, x);
    }

    /**
     * {@link Expr#expm1} as a function.
     *
     * @param x integers become float32
     * @return eˣ − 1, with all digits near 0
     */
    public static Expr expm1(Expr x) {
        return Apply.of(Opcode.EXPM1, x);
    }

    /**
     * {@link Expr#exp2} as a function.
     *
     * @param x integers become float32
     * @return 2ˣ
     */
    public static Expr exp2(Expr x) {
        return Apply.of(Opcode.EXP2, x);
    }

    /**
     * {@link Expr#log1p} as a function.
     *
     * @param x at −1 the result is −∞, below NaN
     * @return log(1 + x), with all digits near 0
     */
    public static Expr log1p(Expr x) {
        return Apply.of(Opcode.LOG1P, x);
    }

    /**
     * {@link Expr#log2} as a function.
     *
     * @param x at 0 the result is −∞, below NaN
     * @return the logarithm of x to base 2
     */
    public static Expr log2(Expr x) {
        return Apply.of(Opcode.LOG2, x);
    }

    /**
     * {@link Expr#log10} as a function.
     *
     * @param x at 0 the result is −∞, below NaN
     * @return the logarithm of x to base 10
     */
    public static Expr log10(Expr x) {
        return Apply.of(Opcode.LOG10, x);
    }

    /**
     * {@link Expr#sin} as a function.
     *
     * @param x radians
     * @return the sine of x
     */
    public static Expr sin(Expr x) {
        return Apply.of(Opcode.SIN, x);
    }

    /**
     * {@link Expr#cos} as a function.
     *
     * @param x radians
     * @return the cosine of x
     */
    public static Expr cos(Expr x) {
        return Apply.of(Opcode.COS, x);
    }

    /**
     * {@link Expr#tan} as a function.
     *
     * @param x radians
     * @return the tangent of x
     */
    public static Expr tan(Expr x) {
        return Apply.of(Opcode.TAN, x);
    }

    /**
     * {@link Expr#asin} as a function.
     *
     * @param x beyond [−1, 1] the result is NaN
     * @return the angle in [−π/2, π/2] whose sine is x
     */
    public static Expr asin(Expr x) {
        return Apply.of(Opcode.ASIN, x);
    }

    /**
     * {@link Expr#acos} as a function.
     *
     * @param x beyond [−1, 1] the result is NaN
     * @return the angle in [0, π] whose cosine is x
     */
    public static Expr acos(Expr x) {
        return Apply.of(Opcode.ACOS, x);
    }

    /**
     * {@link Expr#atan} as a function.
     *
     * @param x integers become float32
     * @return the angle in [−π/2, π/2] whose tangent is x
     */
    public static Expr atan(Expr x) {
        return Apply.of(Opcode.ATAN, x);
    }

    /**
     * {@link Expr#sinh} as a function.
     *
     * @param x integers become float32
     * @return (eˣ − e⁻ˣ)/2
     */
    public static Expr sinh(Expr x) {
        return Apply.of(Opcode.SINH, x);
    }

    /**
     * {@link Expr#cosh} as a function.
     *
     * @param x integers become float32
     * @return (eˣ + e⁻ˣ)/2
     */
    public static Expr cosh(Expr x) {
        return Apply.of(Opcode.COSH, x);
    }

    /**
     * {@link Expr#asinh} as a function.
     *
     * @param x integers become float32
     * @return the inverse of sinh
     */
    public static Expr asinh(Expr x) {
        return Apply.of(Opcode.ASINH, x);
    }

    /**
     * {@link Expr#acosh} as a function.
     *
     * @param x below 1 the result is NaN
     * @return the inverse of cosh that is not negative
     */
    public static Expr acosh(Expr x) {
        return Apply.of(Opcode.ACOSH, x);
    }

    /**
     * {@link Expr#atanh} as a function.
     *
     * @param x at ±1 the result is ±∞, beyond NaN
     * @return the inverse of tanh
     */
    public static Expr atanh(Expr x) {
        return Apply.of(Opcode.ATANH, x);
    }

    /**
     * {@link Expr#erf} as a function.
     *
     * @param x integers become float32
     * @return 2/√π·∫₀ˣ exp(−t²) dt
     */
    public static Expr erf(Expr x) {
        return Apply.of(Opcode.ERF, x);
    }

    /**
     * {@link Expr#erfc} as a function.
     *
     * @param x integers become float32
     * @return 1 − erf x, with all digits where that is small
     */
    public static Expr erfc(Expr x) {
        return Apply.of(Opcode.ERFC, x);
    }

    /**
     * {@link Expr#softplus} as a function.
     *
     * @param x integers become float32
     * @return log(1 + eˣ), without overflow
     */
    public static Expr softplus(Expr x) {
        return Apply.of(Opcode.SOFTPLUS, x);
    }

    /**
     * {@link Expr#logSigmoid} as a function.
     *
     * @param x integers become float32
     * @return log σ(x), without overflow
     */
    public static Expr logSigmoid(Expr x) {
        return Apply.of(Opcode.LOGSIGMOID, x);
    }

    /**
     * {@link Expr#gelu} as a function.
     *
     * @param x integers become float32
     * @return x·Φ(x), by erf
     */
    public static Expr gelu(Expr x) {
        return Apply.of(Opcode.GELU, x);
    }

    /**
     * {@link Expr#geluTanh} as a function.
     *
     * @param x integers become float32
     * @return the tanh approximation of gelu
     */
    public static Expr geluTanh(Expr x) {
        return Apply.of(Opcode.GELU_TANH, x);
    }

    /**
     * {@link Expr#silu} as a function.
     *
     * @param x integers become float32
     * @return x·σ(x)
     */
    public static Expr silu(Expr x) {
        return Apply.of(Opcode.SILU, x);
    }

    /**
     * {@link Expr#geluGrad} as a function.
     *
     * @param x integers become float32
     * @return the derivative of gelu at x
     */
    public static Expr geluGrad(Expr x) {
        return Apply.of(Opcode.GELU_GRAD, x);
    }

    /**
     * {@link Expr#geluTanhGrad} as a function.
     *
     * @param x integers become float32
     * @return the derivative of geluTanh at x
     */
    public static Expr geluTanhGrad(Expr x) {
        return Apply.of(Opcode.GELU_TANH_GRAD, x);
    }

    /**
     * {@link Expr#siluGrad} as a function.
     *
     * @param x integers become float32
     * @return the derivative of silu at x
     */
    public static Expr siluGrad(Expr x) {
        return Apply.of(Opcode.SILU_GRAD, x);
    }

    /**
     * The mish activation (Misra, 2019), x·tanh(softplus x).
     *
     * @param x integers become float32
     * @return its value, exact in both tails
     */
    public static Expr mish(Expr x) {
        return Slopes.mish(x);
    }

    /**
     * {@link Expr#isNan} as a function.
     *
     * @param x of any dtype
     * @return whether x is not a number, as bool
     */
    public static Expr isNan(Expr x) {
        return Apply.of(Opcode.ISNAN, x);
    }

    /**
     * {@link Expr#isInf} as a function.
     *
     * @param x of any dtype
     * @return whether x is ∞ or −∞, as bool
     */
    public static Expr isInf(Expr x) {
        return Apply.of(Opcode.ISINF, x);
    }

    /**
     * {@link Expr#isFinite} as a function.
     *
     * @param x of any dtype
     * @return whether x is neither infinite nor NaN, as bool
     */
    public static Expr isFinite(Expr x) {
        return Apply.of(Opcode.ISFINITE, x);
    }
}
