// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import static dev.merapi.expr.Expr.constant;

import dev.merapi.expr.ir.Apply;
import dev.merapi.expr.ir.Opcode;
import dev.merapi.expr.ir.Slopes;

/** The functions of expressions, for static import: {@code x.mul(sigmoid(x))}. */
public final class Exprs {
    private Exprs() {}

    /** {@code a} where the condition is true (not zero), else {@code b}; no gradient reaches the branch not taken. */
    public static Expr where(Expr condition, Expr a, Expr b) {
        return condition.select(a, b);
    }

    public static Expr where(Expr condition, Expr a, double b) {
        return condition.select(a, constant(b));
    }

    public static Expr where(Expr condition, double a, Expr b) {
        return condition.select(constant(a), b);
    }

    public static Expr where(Expr condition, double a, double b) {
        return condition.select(constant(a), constant(b));
    }

    public static Expr max(Expr a, Expr b) {
        return a.max(b);
    }

    public static Expr max(Expr a, double b) {
        return a.max(b);
    }

    public static Expr min(Expr a, Expr b) {
        return a.min(b);
    }

    public static Expr min(Expr a, double b) {
        return a.min(b);
    }

    public static Expr pow(Expr base, Expr exponent) {
        return base.pow(exponent);
    }

    public static Expr pow(Expr base, double exponent) {
        return base.pow(exponent);
    }

    public static Expr atan2(Expr y, Expr x) {
        return y.atan2(x);
    }

    public static Expr copysign(Expr magnitude, Expr sign) {
        return magnitude.copysign(sign);
    }

    /** a·b + c with one rounding. */
    public static Expr fma(Expr a, Expr b, Expr c) {
        return Apply.of(Opcode.FMA, a, b, c);
    }

    public static Expr clamp(Expr x, Expr low, Expr high) {
        return x.clamp(low, high);
    }

    public static Expr clamp(Expr x, double low, double high) {
        return x.clamp(constant(low), constant(high));
    }

    /** The gradient at 0 is 0. */
    public static Expr abs(Expr x) {
        return Apply.of(Opcode.ABS, x);
    }

    /** −1, 0 or 1; NaN of NaN. */
    public static Expr sign(Expr x) {
        return Apply.of(Opcode.SIGN, x);
    }

    public static Expr square(Expr x) {
        return Apply.of(Opcode.SQUARE, x);
    }

    public static Expr floor(Expr x) {
        return Apply.of(Opcode.FLOOR, x);
    }

    public static Expr ceil(Expr x) {
        return Apply.of(Opcode.CEIL, x);
    }

    /** To the nearest integer, half to even. */
    public static Expr round(Expr x) {
        return Apply.of(Opcode.ROUND, x);
    }

    public static Expr trunc(Expr x) {
        return Apply.of(Opcode.TRUNC, x);
    }

    public static Expr reciprocal(Expr x) {
        return Apply.of(Opcode.RECIPROCAL, x);
    }

    public static Expr sqrt(Expr x) {
        return Apply.of(Opcode.SQRT, x);
    }

    public static Expr rsqrt(Expr x) {
        return Apply.of(Opcode.RSQRT, x);
    }

    public static Expr exp(Expr x) {
        return Apply.of(Opcode.EXP, x);
    }

    public static Expr log(Expr x) {
        return Apply.of(Opcode.LOG, x);
    }

    public static Expr tanh(Expr x) {
        return Apply.of(Opcode.TANH, x);
    }

    public static Expr sigmoid(Expr x) {
        return Apply.of(Opcode.SIGMOID, x);
    }

    /** The gradient at 0 is 0. */
    public static Expr relu(Expr x) {
        return Apply.of(Opcode.RELU, x);
    }

    /** Logical: true where this is zero. */
    public static Expr not(Expr x) {
        return Apply.of(Opcode.NOT, x);
    }

    public static Expr expm1(Expr x) {
        return Apply.of(Opcode.EXPM1, x);
    }

    public static Expr exp2(Expr x) {
        return Apply.of(Opcode.EXP2, x);
    }

    public static Expr log1p(Expr x) {
        return Apply.of(Opcode.LOG1P, x);
    }

    public static Expr log2(Expr x) {
        return Apply.of(Opcode.LOG2, x);
    }

    public static Expr log10(Expr x) {
        return Apply.of(Opcode.LOG10, x);
    }

    public static Expr sin(Expr x) {
        return Apply.of(Opcode.SIN, x);
    }

    public static Expr cos(Expr x) {
        return Apply.of(Opcode.COS, x);
    }

    public static Expr tan(Expr x) {
        return Apply.of(Opcode.TAN, x);
    }

    public static Expr asin(Expr x) {
        return Apply.of(Opcode.ASIN, x);
    }

    public static Expr acos(Expr x) {
        return Apply.of(Opcode.ACOS, x);
    }

    public static Expr atan(Expr x) {
        return Apply.of(Opcode.ATAN, x);
    }

    public static Expr sinh(Expr x) {
        return Apply.of(Opcode.SINH, x);
    }

    public static Expr cosh(Expr x) {
        return Apply.of(Opcode.COSH, x);
    }

    public static Expr asinh(Expr x) {
        return Apply.of(Opcode.ASINH, x);
    }

    public static Expr acosh(Expr x) {
        return Apply.of(Opcode.ACOSH, x);
    }

    public static Expr atanh(Expr x) {
        return Apply.of(Opcode.ATANH, x);
    }

    public static Expr erf(Expr x) {
        return Apply.of(Opcode.ERF, x);
    }

    public static Expr erfc(Expr x) {
        return Apply.of(Opcode.ERFC, x);
    }

    /** log1p(exp x), without overflow. */
    public static Expr softplus(Expr x) {
        return Apply.of(Opcode.SOFTPLUS, x);
    }

    public static Expr logSigmoid(Expr x) {
        return Apply.of(Opcode.LOGSIGMOID, x);
    }

    /** x times the normal distribution function, by erf. */
    public static Expr gelu(Expr x) {
        return Apply.of(Opcode.GELU, x);
    }

    /** The tanh approximation of gelu. */
    public static Expr geluTanh(Expr x) {
        return Apply.of(Opcode.GELU_TANH, x);
    }

    public static Expr silu(Expr x) {
        return Apply.of(Opcode.SILU, x);
    }

    /** The derivative of gelu. */
    public static Expr geluGrad(Expr x) {
        return Apply.of(Opcode.GELU_GRAD, x);
    }

    /** The derivative of geluTanh. */
    public static Expr geluTanhGrad(Expr x) {
        return Apply.of(Opcode.GELU_TANH_GRAD, x);
    }

    /** The derivative of silu. */
    public static Expr siluGrad(Expr x) {
        return Apply.of(Opcode.SILU_GRAD, x);
    }

    /** x·tanh(softplus x). */
    public static Expr mish(Expr x) {
        return Slopes.mish(x);
    }

    public static Expr isNan(Expr x) {
        return Apply.of(Opcode.ISNAN, x);
    }

    public static Expr isInf(Expr x) {
        return Apply.of(Opcode.ISINF, x);
    }

    public static Expr isFinite(Expr x) {
        return Apply.of(Opcode.ISFINITE, x);
    }
}
