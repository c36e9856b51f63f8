// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import dev.merapi.expr.ir.Nodes;
import dev.merapi.expr.ir.Opcode;
import dev.merapi.types.DType;
import java.util.List;
import java.util.ServiceLoader;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A scalar expression: an immutable node of a DAG, over the elements of inputs and over run-time scalar parameters.
 *
 * <p>Expressions have no dtype: {@link dev.merapi.expr.ir.Program#compile} infers one for each node from the inputs' dtypes, by PyTorch's
 * promotion. Constants without a dtype and scalar parameters are weak: they only raise the category (an int64 tensor
 * plus 0.5 is float32, a float16 tensor plus 0.5 is float16). Within an expression floating nodes are computed in the
 * widest floating dtype that they meet; integers keep their dtype, and wrap in it, until they meet a floating number.
 *
 * <p>Nodes are interned: two expressions of equal structure are the same object, so {@code ==} is structural equality.
 */
public abstract class Expr {
    private static final Nodes<Expr> NODES = nodes();

    /** Nodes are made by the methods of this class and of {@link Exprs}. */
    public Expr() {}

    @SuppressWarnings("unchecked") // there is one, and it makes these
    private static Nodes<Expr> nodes() {
        return ServiceLoader.load(Nodes.class, Nodes.class.getClassLoader())
                .findFirst()
                .orElseThrow(
                        () -> new IllegalStateException(
                                "merapi: what makes expressions is not found"
                                        + "\n  fix: keep META-INF/services of merapi-core where its classes are packed into another jar."));
    }

    private static Expr apply(Opcode op, Expr... operands) {
        return NODES.apply(op, List.of(operands));
    }

    // ---- Leaves

    /** Element of the k-th input. */
    public static Expr input(int k) {
        return NODES.input(k);
    }

    /** The k-th run-time scalar parameter; its kind is told when the expression is compiled. */
    public static Expr scalar(int k) {
        return NODES.scalar(k);
    }

    /** Stands for the k-th result of the op, in derivative expressions only. */
    public static Expr output(int k) {
        return NODES.output(k);
    }

    /** Stands for the gradient of the op's k-th result, in derivative expressions only. */
    public static Expr gradient(int k) {
        return NODES.gradient(k);
    }

    /** A weak floating constant. */
    public static Expr constant(double value) {
        return NODES.constant(value);
    }

    /** A weak integer constant. */
    public static Expr constant(long value) {
        return NODES.constant(value);
    }

    /** A weak bool constant. */
    public static Expr constant(boolean value) {
        return NODES.constant(value);
    }

    /** A constant with a dtype: behaves like a tensor of rank 0. */
    public static Expr constant(double value, DType dtype) {
        return constant(value).cast(dtype);
    }

    /** A constant with a dtype: behaves like a tensor of rank 0. */
    public static Expr constant(long value, DType dtype) {
        return constant(value).cast(dtype);
    }

    // ---- Structure

    /** The operands, in order; empty for leaves. */
    public abstract List<Expr> operands();

    /**
     * Replaces variables: the function is asked once for each distinct one, and may return it unchanged. So
     * {@code output} and {@code gradient} of a derivative become inputs of the derived op.
     */
    public final Expr substitute(UnaryOperator<Expr> replacement) {
        return NODES.substitute(this, replacement);
    }

    // ---- Operators

    public final Expr neg() {
        return apply(Opcode.NEG, this);
    }

    /** The gradient at 0 is 0. */
    public final Expr abs() {
        return apply(Opcode.ABS, this);
    }

    /** −1, 0 or 1; NaN of NaN. */
    public final Expr sign() {
        return apply(Opcode.SIGN, this);
    }

    public final Expr square() {
        return apply(Opcode.SQUARE, this);
    }

    public final Expr floor() {
        return apply(Opcode.FLOOR, this);
    }

    public final Expr ceil() {
        return apply(Opcode.CEIL, this);
    }

    /** To the nearest integer, half to even. */
    public final Expr round() {
        return apply(Opcode.ROUND, this);
    }

    public final Expr trunc() {
        return apply(Opcode.TRUNC, this);
    }

    public final Expr reciprocal() {
        return apply(Opcode.RECIPROCAL, this);
    }

    public final Expr sqrt() {
        return apply(Opcode.SQRT, this);
    }

    public final Expr rsqrt() {
        return apply(Opcode.RSQRT, this);
    }

    public final Expr exp() {
        return apply(Opcode.EXP, this);
    }

    public final Expr log() {
        return apply(Opcode.LOG, this);
    }

    public final Expr tanh() {
        return apply(Opcode.TANH, this);
    }

    public final Expr sigmoid() {
        return apply(Opcode.SIGMOID, this);
    }

    /** The gradient at 0 is 0. */
    public final Expr relu() {
        return apply(Opcode.RELU, this);
    }

    /** Logical: true where this is zero. */
    public final Expr not() {
        return apply(Opcode.NOT, this);
    }

    /** Bitwise complement; of bools, not. */
    public final Expr bitNot() {
        return apply(Opcode.BITNOT, this);
    }

    public final Expr expm1() {
        return apply(Opcode.EXPM1, this);
    }

    public final Expr exp2() {
        return apply(Opcode.EXP2, this);
    }

    public final Expr log1p() {
        return apply(Opcode.LOG1P, this);
    }

    public final Expr log2() {
        return apply(Opcode.LOG2, this);
    }

    public final Expr log10() {
        return apply(Opcode.LOG10, this);
    }

    public final Expr sin() {
        return apply(Opcode.SIN, this);
    }

    public final Expr cos() {
        return apply(Opcode.COS, this);
    }

    public final Expr tan() {
        return apply(Opcode.TAN, this);
    }

    public final Expr asin() {
        return apply(Opcode.ASIN, this);
    }

    public final Expr acos() {
        return apply(Opcode.ACOS, this);
    }

    public final Expr atan() {
        return apply(Opcode.ATAN, this);
    }

    public final Expr sinh() {
        return apply(Opcode.SINH, this);
    }

    public final Expr cosh() {
        return apply(Opcode.COSH, this);
    }

    public final Expr asinh() {
        return apply(Opcode.ASINH, this);
    }

    public final Expr acosh() {
        return apply(Opcode.ACOSH, this);
    }

    public final Expr atanh() {
        return apply(Opcode.ATANH, this);
    }

    public final Expr erf() {
        return apply(Opcode.ERF, this);
    }

    public final Expr erfc() {
        return apply(Opcode.ERFC, this);
    }

    /** log1p(exp x), without overflow. */
    public final Expr softplus() {
        return apply(Opcode.SOFTPLUS, this);
    }

    public final Expr logSigmoid() {
        return apply(Opcode.LOGSIGMOID, this);
    }

    /** x times the normal distribution function, by erf. */
    public final Expr gelu() {
        return apply(Opcode.GELU, this);
    }

    /** The tanh approximation of gelu. */
    public final Expr geluTanh() {
        return apply(Opcode.GELU_TANH, this);
    }

    public final Expr silu() {
        return apply(Opcode.SILU, this);
    }

    /** The derivative of gelu. */
    public final Expr geluGrad() {
        return apply(Opcode.GELU_GRAD, this);
    }

    /** The derivative of geluTanh. */
    public final Expr geluTanhGrad() {
        return apply(Opcode.GELU_TANH_GRAD, this);
    }

    /** The derivative of silu. */
    public final Expr siluGrad() {
        return apply(Opcode.SILU_GRAD, this);
    }

    public final Expr isNan() {
        return apply(Opcode.ISNAN, this);
    }

    public final Expr isInf() {
        return apply(Opcode.ISINF, this);
    }

    public final Expr isFinite() {
        return apply(Opcode.ISFINITE, this);
    }

    /** Of bools, or. */
    public final Expr add(Expr other) {
        return apply(Opcode.ADD, this, other);
    }

    public final Expr add(double other) {
        return add(constant(other));
    }

    public final Expr add(long other) {
        return add(constant(other));
    }

    public final Expr sub(Expr other) {
        return apply(Opcode.SUB, this, other);
    }

    public final Expr sub(double other) {
        return sub(constant(other));
    }

    public final Expr sub(long other) {
        return sub(constant(other));
    }

    /** Of bools, and. */
    public final Expr mul(Expr other) {
        return apply(Opcode.MUL, this, other);
    }

    public final Expr mul(double other) {
        return mul(constant(other));
    }

    public final Expr mul(long other) {
        return mul(constant(other));
    }

    /** True division: integers give floats. */
    public final Expr div(Expr other) {
        return apply(Opcode.DIV, this, other);
    }

    public final Expr div(double other) {
        return div(constant(other));
    }

    public final Expr div(long other) {
        return div(constant(other));
    }

    public final Expr pow(Expr other) {
        return apply(Opcode.POW, this, other);
    }

    public final Expr pow(double other) {
        return pow(constant(other));
    }

    public final Expr pow(long other) {
        return pow(constant(other));
    }

    /** NaN wins; the gradient is split at ties. */
    public final Expr min(Expr other) {
        return apply(Opcode.MIN, this, other);
    }

    public final Expr min(double other) {
        return min(constant(other));
    }

    public final Expr min(long other) {
        return min(constant(other));
    }

    /** NaN wins; the gradient is split at ties. */
    public final Expr max(Expr other) {
        return apply(Opcode.MAX, this, other);
    }

    public final Expr max(double other) {
        return max(constant(other));
    }

    public final Expr max(long other) {
        return max(constant(other));
    }

    /** Python's remainder, with the sign of the divisor; integers by zero give 0. */
    public final Expr rem(Expr other) {
        return apply(Opcode.REM, this, other);
    }

    public final Expr rem(double other) {
        return rem(constant(other));
    }

    public final Expr rem(long other) {
        return rem(constant(other));
    }

    /** Quotient rounded down; integers by zero give 0. */
    public final Expr floorDiv(Expr other) {
        return apply(Opcode.FLOORDIV, this, other);
    }

    public final Expr floorDiv(double other) {
        return floorDiv(constant(other));
    }

    public final Expr floorDiv(long other) {
        return floorDiv(constant(other));
    }

    public final Expr eq(Expr other) {
        return apply(Opcode.EQ, this, other);
    }

    public final Expr eq(double other) {
        return eq(constant(other));
    }

    public final Expr eq(long other) {
        return eq(constant(other));
    }

    public final Expr ne(Expr other) {
        return apply(Opcode.NE, this, other);
    }

    public final Expr ne(double other) {
        return ne(constant(other));
    }

    public final Expr ne(long other) {
        return ne(constant(other));
    }

    public final Expr lt(Expr other) {
        return apply(Opcode.LT, this, other);
    }

    public final Expr lt(double other) {
        return lt(constant(other));
    }

    public final Expr lt(long other) {
        return lt(constant(other));
    }

    public final Expr le(Expr other) {
        return apply(Opcode.LE, this, other);
    }

    public final Expr le(double other) {
        return le(constant(other));
    }

    public final Expr le(long other) {
        return le(constant(other));
    }

    public final Expr gt(Expr other) {
        return apply(Opcode.GT, this, other);
    }

    public final Expr gt(double other) {
        return gt(constant(other));
    }

    public final Expr gt(long other) {
        return gt(constant(other));
    }

    public final Expr ge(Expr other) {
        return apply(Opcode.GE, this, other);
    }

    public final Expr ge(double other) {
        return ge(constant(other));
    }

    public final Expr ge(long other) {
        return ge(constant(other));
    }

    /** C's remainder, with the sign of the dividend; integers by zero give 0. */
    public final Expr fmod(Expr other) {
        return apply(Opcode.FMOD, this, other);
    }

    /** Quotient rounded towards zero; integers by zero give 0. */
    public final Expr truncDiv(Expr other) {
        return apply(Opcode.TRUNCDIV, this, other);
    }

    /** The angle of the point (other, this); its gradients at the origin and at infinity are 0. */
    public final Expr atan2(Expr other) {
        return apply(Opcode.ATAN2, this, other);
    }

    public final Expr copysign(Expr other) {
        return apply(Opcode.COPYSIGN, this, other);
    }

    public final Expr and(Expr other) {
        return apply(Opcode.AND, this, other);
    }

    public final Expr and(long other) {
        return and(constant(other));
    }

    public final Expr or(Expr other) {
        return apply(Opcode.OR, this, other);
    }

    public final Expr or(long other) {
        return or(constant(other));
    }

    public final Expr xor(Expr other) {
        return apply(Opcode.XOR, this, other);
    }

    public final Expr xor(long other) {
        return xor(constant(other));
    }

    /** Shifts by less than 0, or by the width or more, give 0. */
    public final Expr shl(Expr other) {
        return apply(Opcode.SHL, this, other);
    }

    public final Expr shl(long other) {
        return shl(constant(other));
    }

    /** Arithmetic shift. */
    public final Expr shr(Expr other) {
        return apply(Opcode.SHR, this, other);
    }

    public final Expr shr(long other) {
        return shr(constant(other));
    }

    /** Taking this as a condition (true where not zero): {@code a} where it holds, else {@code b}. */
    public final Expr select(Expr a, Expr b) {
        return apply(Opcode.SELECT, this, a, b);
    }

    /**
     * Converts like a C cast; floats to int32 and int64 saturate, NaN gives 0; uint8, int8 and
     * int16 are the low bits of that int32. Rounding to a small float happens when the
     * result is stored, not here.
     */
    public final Expr cast(DType dtype) {
        return NODES.cast(dtype, this);
    }

    /** {@code min(max(x, low), high)}; the gradient passes within the bounds and on them. Null leaves a side open. */
    public final Expr clamp(@Nullable Expr low, @Nullable Expr high) {
        return Clamp.of(this, low, high);
    }
}
