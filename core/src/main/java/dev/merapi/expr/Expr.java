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

    /**
     * The element of a tensor operand, at the place that is computed.
     *
     * @param k which operand, counted from 0
     * @return a leaf; its dtype is that of the tensor, known when the op is called
     */
    public static Expr input(int k) {
        return NODES.input(k);
    }

    /**
     * A number that is given at each call, a run-time parameter: changing it compiles nothing.
     *
     * @param k which parameter, counted from 0
     * @return a leaf; whether it is bool, integer or floating is that of the number given
     */
    public static Expr scalar(int k) {
        return NODES.scalar(k);
    }

    /**
     * Stands for a result of the op, in derivatives only: so they can use it instead of computing it again.
     *
     * @param k which result, counted from 0
     * @return a leaf, to be replaced by {@link #substitute} before anything is compiled
     */
    public static Expr output(int k) {
        return NODES.output(k);
    }

    /**
     * Stands for the gradient of a result of the op, or for the tangent of an operand, in derivatives only.
     *
     * @param k which of them, counted from 0
     * @return a leaf, to be replaced by {@link #substitute} before anything is compiled
     */
    public static Expr gradient(int k) {
        return NODES.gradient(k);
    }

    /**
     * A weak floating constant: it makes integers float32, and takes on the dtype of the floats that it meets.
     *
     * @param value any, also NaN and infinite
     * @return a leaf without a dtype of its own
     */
    public static Expr constant(double value) {
        return NODES.constant(value);
    }

    /**
     * A weak integer constant: it makes bools int64, and takes on the dtype of any number that it meets.
     *
     * @param value any
     * @return a leaf without a dtype of its own
     */
    public static Expr constant(long value) {
        return NODES.constant(value);
    }

    /**
     * A weak bool constant, which takes on the dtype of whatever it meets.
     *
     * @param value false or true
     * @return a leaf without a dtype of its own
     */
    public static Expr constant(boolean value) {
        return NODES.constant(value);
    }

    /**
     * A constant with a dtype: behaves like a tensor of rank 0.
     *
     * @param value converted by {@link #cast}
     * @param dtype of the constant: it counts in promotion as a 0-d tensor of that dtype does
     * @return the constant under a cast
     */
    public static Expr constant(double value, DType dtype) {
        return constant(value).cast(dtype);
    }

    /**
     * A constant with a dtype: behaves like a tensor of rank 0.
     *
     * @param value converted by {@link #cast}
     * @param dtype of the constant: it counts in promotion as a 0-d tensor of that dtype does
     * @return the constant under a cast
     */
    public static Expr constant(long value, DType dtype) {
        return constant(value).cast(dtype);
    }

    // ---- Structure

    /** {@return what this node is computed from, in order; empty for leaves} */
    public abstract List<Expr> operands();

    /**
     * Replaces variables: the function is asked once for each distinct one, and may return it unchanged. So
     * {@code output} and {@code gradient} of a derivative become inputs of the derived op.
     *
     * @param replacement from a variable (input, scalar, output or gradient) to what stands in its place
     * @return the expression with the variables replaced; constants and functions stay
     */
    public final Expr substitute(UnaryOperator<Expr> replacement) {
        return NODES.substitute(this, replacement);
    }

    // ---- Operators

    /** {@return −x in the dtype of x, where integers wrap; not for bool} */
    public final Expr neg() {
        return apply(Opcode.NEG, this);
    }

    /** {@return |x| in the dtype of x; the gradient at 0 is 0} */
    public final Expr abs() {
        return apply(Opcode.ABS, this);
    }

    /** {@return −1, 0 or 1 in the dtype of x; NaN of NaN, and ±0 of ±0; the gradient is 0} */
    public final Expr sign() {
        return apply(Opcode.SIGN, this);
    }

    /** {@return x·x in the dtype of x, where integers wrap} */
    public final Expr square() {
        return apply(Opcode.SQUARE, this);
    }

    /** {@return the largest whole number that is not above x; integers stay as they are, and the gradient is 0} */
    public final Expr floor() {
        return apply(Opcode.FLOOR, this);
    }

    /** {@return the smallest whole number that is not below x; integers stay as they are, and the gradient is 0} */
    public final Expr ceil() {
        return apply(Opcode.CEIL, this);
    }

    /** {@return the nearest whole number, of two the even one; integers stay as they are, and the gradient is 0} */
    public final Expr round() {
        return apply(Opcode.ROUND, this);
    }

    /** {@return x rounded towards 0; integers stay as they are, and the gradient is 0} */
    public final Expr trunc() {
        return apply(Opcode.TRUNC, this);
    }

    /** {@return 1/x; integers become float32, as for all real functions here} */
    public final Expr reciprocal() {
        return apply(Opcode.RECIPROCAL, this);
    }

    /** {@return √x, and NaN below 0; the slope at 0 is infinite} */
    public final Expr sqrt() {
        return apply(Opcode.SQRT, this);
    }

    /** {@return 1/√x, infinite at 0 and NaN below} */
    public final Expr rsqrt() {
        return apply(Opcode.RSQRT, this);
    }

    /** {@return eˣ} */
    public final Expr exp() {
        return apply(Opcode.EXP, this);
    }

    /** {@return the natural logarithm of x: −∞ at 0, and NaN below} */
    public final Expr log() {
        return apply(Opcode.LOG, this);
    }

    /** {@return the hyperbolic tangent of x, from −1 to 1} */
    public final Expr tanh() {
        return apply(Opcode.TANH, this);
    }

    /** {@return 1/(1 + e⁻ˣ), from 0 to 1, without overflow} */
    public final Expr sigmoid() {
        return apply(Opcode.SIGMOID, this);
    }

    /** {@return max(x, 0) in the dtype of x; NaN stays, and the gradient at 0 is 0} */
    public final Expr relu() {
        return apply(Opcode.RELU, this);
    }

    /** {@return logical: whether x is zero, as bool} */
    public final Expr not() {
        return apply(Opcode.NOT, this);
    }

    /** {@return the bitwise complement of an integer, and not x of bools; floats are refused} */
    public final Expr bitNot() {
        return apply(Opcode.BITNOT, this);
    }

    /** {@return eˣ − 1, with all digits near 0} */
    public final Expr expm1() {
        return apply(Opcode.EXPM1, this);
    }

    /** {@return 2ˣ} */
    public final Expr exp2() {
        return apply(Opcode.EXP2, this);
    }

    /** {@return log(1 + x), with all digits near 0; −∞ at −1, and NaN below} */
    public final Expr log1p() {
        return apply(Opcode.LOG1P, this);
    }

    /** {@return the logarithm of x to base 2, exact at powers of two} */
    public final Expr log2() {
        return apply(Opcode.LOG2, this);
    }

    /** {@return the logarithm of x to base 10} */
    public final Expr log10() {
        return apply(Opcode.LOG10, this);
    }

    /** {@return the sine of x radians} */
    public final Expr sin() {
        return apply(Opcode.SIN, this);
    }

    /** {@return the cosine of x radians} */
    public final Expr cos() {
        return apply(Opcode.COS, this);
    }

    /** {@return the tangent of x radians} */
    public final Expr tan() {
        return apply(Opcode.TAN, this);
    }

    /** {@return the angle in [−π/2, π/2] whose sine is x; NaN beyond [−1, 1]} */
    public final Expr asin() {
        return apply(Opcode.ASIN, this);
    }

    /** {@return the angle in [0, π] whose cosine is x; NaN beyond [−1, 1]} */
    public final Expr acos() {
        return apply(Opcode.ACOS, this);
    }

    /** {@return the angle in [−π/2, π/2] whose tangent is x} */
    public final Expr atan() {
        return apply(Opcode.ATAN, this);
    }

    /** {@return (eˣ − e⁻ˣ)/2} */
    public final Expr sinh() {
        return apply(Opcode.SINH, this);
    }

    /** {@return (eˣ + e⁻ˣ)/2} */
    public final Expr cosh() {
        return apply(Opcode.COSH, this);
    }

    /** {@return the inverse of sinh} */
    public final Expr asinh() {
        return apply(Opcode.ASINH, this);
    }

    /** {@return the inverse of cosh that is not negative; NaN below 1} */
    public final Expr acosh() {
        return apply(Opcode.ACOSH, this);
    }

    /** {@return the inverse of tanh: ±∞ at ±1, and NaN beyond} */
    public final Expr atanh() {
        return apply(Opcode.ATANH, this);
    }

    /** {@return the error function, 2/√π·∫₀ˣ exp(−t²) dt} */
    public final Expr erf() {
        return apply(Opcode.ERF, this);
    }

    /** {@return 1 − erf x, with all digits where that is small} */
    public final Expr erfc() {
        return apply(Opcode.ERFC, this);
    }

    /** {@return log(1 + eˣ), without overflow} */
    public final Expr softplus() {
        return apply(Opcode.SOFTPLUS, this);
    }

    /** {@return log σ(x) = −softplus(−x), without overflow} */
    public final Expr logSigmoid() {
        return apply(Opcode.LOGSIGMOID, this);
    }

    /** {@return x·Φ(x), Φ the distribution function of the standard normal, by erf: PyTorch's default} */
    public final Expr gelu() {
        return apply(Opcode.GELU, this);
    }

    /**
     * {@return the approximation x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2 of gelu: PyTorch's {@code approximate='tanh'}}
     */
    public final Expr geluTanh() {
        return apply(Opcode.GELU_TANH, this);
    }

    /** {@return x·σ(x), also called swish} */
    public final Expr silu() {
        return apply(Opcode.SILU, this);
    }

    /** {@return the derivative of {@link #gelu} at x} */
    public final Expr geluGrad() {
        return apply(Opcode.GELU_GRAD, this);
    }

    /** {@return the derivative of {@link #geluTanh} at x} */
    public final Expr geluTanhGrad() {
        return apply(Opcode.GELU_TANH_GRAD, this);
    }

    /** {@return the derivative of {@link #silu} at x} */
    public final Expr siluGrad() {
        return apply(Opcode.SILU_GRAD, this);
    }

    /** {@return whether x is not a number, as bool; false of integers} */
    public final Expr isNan() {
        return apply(Opcode.ISNAN, this);
    }

    /** {@return whether x is ∞ or −∞, as bool; false of integers} */
    public final Expr isInf() {
        return apply(Opcode.ISINF, this);
    }

    /** {@return whether x is neither infinite nor NaN, as bool; true of integers} */
    public final Expr isFinite() {
        return apply(Opcode.ISFINITE, this);
    }

    /**
     * The sum; of bools, or.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return this + other
     */
    public final Expr add(Expr other) {
        return apply(Opcode.ADD, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return this + other
     */
    public final Expr add(double other) {
        return add(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return this + other
     */
    public final Expr add(long other) {
        return add(constant(other));
    }

    /**
     * The difference; not for bools.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return this − other
     */
    public final Expr sub(Expr other) {
        return apply(Opcode.SUB, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return this − other
     */
    public final Expr sub(double other) {
        return sub(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return this − other
     */
    public final Expr sub(long other) {
        return sub(constant(other));
    }

    /**
     * The product; of bools, and.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return this · other
     */
    public final Expr mul(Expr other) {
        return apply(Opcode.MUL, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return this · other
     */
    public final Expr mul(double other) {
        return mul(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return this · other
     */
    public final Expr mul(long other) {
        return mul(constant(other));
    }

    /**
     * True division: integers give float32, and so infinity or NaN by 0.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return this / other, floating
     */
    public final Expr div(Expr other) {
        return apply(Opcode.DIV, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return this / other, floating
     */
    public final Expr div(double other) {
        return div(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return this / other, floating
     */
    public final Expr div(long other) {
        return div(constant(other));
    }

    /**
     * A power. Of integers, to a negative exponent: 1 stays 1, −1 alternates, others give 0. Not for bools. The
     * gradient of an exponent is 0 where the base is 0 and the exponent is not negative.
     *
     * @param other the exponent; broadcast and promoted with this one, element by element
     * @return this to the power of other
     */
    public final Expr pow(Expr other) {
        return apply(Opcode.POW, this, other);
    }

    /**
     * @param other the exponent, a weak floating constant: beside integers the operation is one of float32
     * @return this to the power of other
     */
    public final Expr pow(double other) {
        return pow(constant(other));
    }

    /**
     * @param other the exponent, a weak integer constant: of another's dtype it changes bool only
     * @return this to the power of other
     */
    public final Expr pow(long other) {
        return pow(constant(other));
    }

    /**
     * The smaller; NaN wins. At ties each operand gets half of the gradient, and where one is NaN both get it.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return min(this, other); of bools, and
     */
    public final Expr min(Expr other) {
        return apply(Opcode.MIN, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return min(this, other)
     */
    public final Expr min(double other) {
        return min(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return min(this, other)
     */
    public final Expr min(long other) {
        return min(constant(other));
    }

    /**
     * The larger; NaN wins. At ties each operand gets half of the gradient, and where one is NaN both get it.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return max(this, other); of bools, or
     */
    public final Expr max(Expr other) {
        return apply(Opcode.MAX, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return max(this, other)
     */
    public final Expr max(double other) {
        return max(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return max(this, other)
     */
    public final Expr max(long other) {
        return max(constant(other));
    }

    /**
     * Python's remainder, with the sign of the divisor; integers by zero give 0. Not for bools.
     *
     * @param other the divisor; broadcast and promoted with this one, element by element
     * @return this − other·⌊this / other⌋
     */
    public final Expr rem(Expr other) {
        return apply(Opcode.REM, this, other);
    }

    /**
     * @param other the divisor, a weak floating constant: beside integers the operation is one of float32
     * @return the remainder with the sign of the divisor
     */
    public final Expr rem(double other) {
        return rem(constant(other));
    }

    /**
     * @param other the divisor, a weak integer constant: of another's dtype it changes bool only
     * @return the remainder with the sign of the divisor
     */
    public final Expr rem(long other) {
        return rem(constant(other));
    }

    /**
     * The quotient rounded down; integers by zero give 0. Not for bools; the gradient is 0.
     *
     * @param other the divisor; broadcast and promoted with this one, element by element
     * @return ⌊this / other⌋, in the promoted dtype
     */
    public final Expr floorDiv(Expr other) {
        return apply(Opcode.FLOORDIV, this, other);
    }

    /**
     * @param other the divisor, a weak floating constant: beside integers the operation is one of float32
     * @return ⌊this / other⌋
     */
    public final Expr floorDiv(double other) {
        return floorDiv(constant(other));
    }

    /**
     * @param other the divisor, a weak integer constant: of another's dtype it changes bool only
     * @return ⌊this / other⌋
     */
    public final Expr floorDiv(long other) {
        return floorDiv(constant(other));
    }

    /**
     * @param other broadcast and promoted with this one, element by element
     * @return whether both are equal, as bool: NaN equals nothing
     */
    public final Expr eq(Expr other) {
        return apply(Opcode.EQ, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return whether both are equal, as bool
     */
    public final Expr eq(double other) {
        return eq(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return whether both are equal, as bool
     */
    public final Expr eq(long other) {
        return eq(constant(other));
    }

    /**
     * @param other broadcast and promoted with this one, element by element
     * @return whether both differ, as bool: NaN differs from everything
     */
    public final Expr ne(Expr other) {
        return apply(Opcode.NE, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return whether both differ, as bool
     */
    public final Expr ne(double other) {
        return ne(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return whether both differ, as bool
     */
    public final Expr ne(long other) {
        return ne(constant(other));
    }

    /**
     * @param other broadcast and promoted with this one, element by element
     * @return whether this is less, as bool: false if one is NaN
     */
    public final Expr lt(Expr other) {
        return apply(Opcode.LT, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return whether this is less, as bool
     */
    public final Expr lt(double other) {
        return lt(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return whether this is less, as bool
     */
    public final Expr lt(long other) {
        return lt(constant(other));
    }

    /**
     * @param other broadcast and promoted with this one, element by element
     * @return whether this is less or equal, as bool: false if one is NaN
     */
    public final Expr le(Expr other) {
        return apply(Opcode.LE, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return whether this is less or equal, as bool
     */
    public final Expr le(double other) {
        return le(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return whether this is less or equal, as bool
     */
    public final Expr le(long other) {
        return le(constant(other));
    }

    /**
     * @param other broadcast and promoted with this one, element by element
     * @return whether this is greater, as bool: false if one is NaN
     */
    public final Expr gt(Expr other) {
        return apply(Opcode.GT, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return whether this is greater, as bool
     */
    public final Expr gt(double other) {
        return gt(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return whether this is greater, as bool
     */
    public final Expr gt(long other) {
        return gt(constant(other));
    }

    /**
     * @param other broadcast and promoted with this one, element by element
     * @return whether this is greater or equal, as bool: false if one is NaN
     */
    public final Expr ge(Expr other) {
        return apply(Opcode.GE, this, other);
    }

    /**
     * @param other a weak floating constant: beside integers the operation is one of float32
     * @return whether this is greater or equal, as bool
     */
    public final Expr ge(double other) {
        return ge(constant(other));
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return whether this is greater or equal, as bool
     */
    public final Expr ge(long other) {
        return ge(constant(other));
    }

    /**
     * C's remainder, with the sign of the dividend; integers by zero give 0. Not for bools.
     *
     * @param other the divisor; broadcast and promoted with this one, element by element
     * @return this − other·trunc(this / other)
     */
    public final Expr fmod(Expr other) {
        return apply(Opcode.FMOD, this, other);
    }

    /**
     * The quotient rounded towards zero; integers by zero give 0. Not for bools; the gradient is 0.
     *
     * @param other the divisor; broadcast and promoted with this one, element by element
     * @return trunc(this / other), in the promoted dtype
     */
    public final Expr truncDiv(Expr other) {
        return apply(Opcode.TRUNCDIV, this, other);
    }

    /**
     * The angle of the point (other, this); its gradients at the origin and at infinity are 0.
     *
     * @param other the abscissa, this being the ordinate; broadcast and promoted with this one, element by element
     * @return the angle of the point (other, this) in [−π, π]; integers become float32
     */
    public final Expr atan2(Expr other) {
        return apply(Opcode.ATAN2, this, other);
    }

    /**
     * The magnitude of this with the sign of another, which gets no gradient; integers become float32.
     *
     * @param other whose sign is taken, also that of −0
     * @return |this| or −|this|
     */
    public final Expr copysign(Expr other) {
        return apply(Opcode.COPYSIGN, this, other);
    }

    /**
     * Bitwise and of integers, logical and of bools; floats are refused.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return the bits that both have
     */
    public final Expr and(Expr other) {
        return apply(Opcode.AND, this, other);
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return the bits that both have
     */
    public final Expr and(long other) {
        return and(constant(other));
    }

    /**
     * Bitwise or of integers, logical or of bools; floats are refused.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return the bits that one of both has
     */
    public final Expr or(Expr other) {
        return apply(Opcode.OR, this, other);
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return the bits that one of both has
     */
    public final Expr or(long other) {
        return or(constant(other));
    }

    /**
     * Bitwise exclusive or of integers, difference of bools; floats are refused.
     *
     * @param other broadcast and promoted with this one, element by element
     * @return the bits that just one of both has
     */
    public final Expr xor(Expr other) {
        return apply(Opcode.XOR, this, other);
    }

    /**
     * @param other a weak integer constant: of another's dtype it changes bool only
     * @return the bits that just one of both has
     */
    public final Expr xor(long other) {
        return xor(constant(other));
    }

    /**
     * Shift to the left, of integers. By less than 0, or by the width of the dtype or more, it gives 0.
     *
     * @param other by how many bits; broadcast and promoted with this one, element by element
     * @return this · 2^other, wrapped
     */
    public final Expr shl(Expr other) {
        return apply(Opcode.SHL, this, other);
    }

    /**
     * @param other by how many bits
     * @return this · 2^other, wrapped
     */
    public final Expr shl(long other) {
        return shl(constant(other));
    }

    /**
     * Arithmetic shift to the right, of integers. By less than 0, or by the width of the dtype or more, it gives 0,
     * or −1 where this is negative.
     *
     * @param other by how many bits; broadcast and promoted with this one, element by element
     * @return ⌊this / 2^other⌋
     */
    public final Expr shr(Expr other) {
        return apply(Opcode.SHR, this, other);
    }

    /**
     * @param other by how many bits
     * @return ⌊this / 2^other⌋
     */
    public final Expr shr(long other) {
        return shr(constant(other));
    }

    /**
     * A choice, by this as a condition: true where it is not zero. No gradient reaches what is not chosen, nor the
     * condition, whose dtype and rank do not count.
     *
     * @param a where the condition holds
     * @param b elsewhere; promoted with a
     * @return a or b
     */
    public final Expr select(Expr a, Expr b) {
        return apply(Opcode.SELECT, this, a, b);
    }

    /**
     * Converts like a C cast; floats to int32 and int64 saturate, NaN gives 0; uint8, int8 and
     * int16 are the low bits of that int32. Rounding to a small float happens when the
     * result is stored, not here.
     *
     * @param dtype of the result
     * @return the converted value, of this rank in promotion; of a constant, that of a 0-d tensor
     */
    public final Expr cast(DType dtype) {
        return NODES.cast(dtype, this);
    }

    /**
     * {@code min(max(x, low), high)}; the gradient passes within the bounds and on them. Null leaves a side open.
     *
     * @param low the lower bound, or null for none
     * @param high the upper bound, or null for none; it wins where it is below {@code low}
     * @return this, or the bound that it is beyond, which then gets the gradient
     */
    public final Expr clamp(@Nullable Expr low, @Nullable Expr high) {
        return Clamp.of(this, low, high);
    }
}
