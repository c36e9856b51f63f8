// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.DTypeException;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.Elementary;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.Rounding;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What a tensor does element by element. Operands broadcast; dtypes promote as in PyTorch (a scalar only raises the
 * kind: an int64 tensor plus 0.5 is float32); float16 and bfloat16 compute in float32 and round once. A method whose name
 * ends in {@code _} writes this tensor and returns it: its dtype and shape stay, and the result must be castable to it.
 * All are differentiable to any order where the function is.
 */
public abstract sealed class PointwiseMethods extends TensorFactories permits ActivationMethods {
    PointwiseMethods() {}

    abstract Tensor self();

    Tensor into(PointwiseOp op) {
        return op.into(self(), List.of(self()), List.of());
    }

    Tensor into(PointwiseOp op, Tensor other) {
        return op.into(self(), List.of(self(), other), List.of());
    }

    Tensor into(PointwiseOp op, Number... scalars) {
        return op.into(self(), List.of(self()), List.of(scalars));
    }

    // ---------------------------------------------------------------- arithmetic

    /**
     * {@code this + other}. Of bools, or.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor add(Tensor other) {
        return Arithmetic.ADD.call(self(), other);
    }

    /**
     * {@code this + other}.
     *
     * @param other added to each element
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor add(Number other) {
        return Arithmetic.ADD_SCALAR.call(self(), other);
    }

    /**
     * {@link #add(Tensor)} in place.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return this tensor
     */
    public Tensor add_(Tensor other) {
        return into(Arithmetic.ADD, other);
    }

    /**
     * {@link #add(Number)} in place.
     *
     * @param other added to each element
     * @return this tensor
     */
    public Tensor add_(Number other) {
        return into(Arithmetic.ADD_SCALAR, other);
    }

    /**
     * {@code this + scale * other} in one pass.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @param scale a factor for all elements
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor add(Tensor other, Number scale) {
        return Arithmetic.ADD_SCALED.call(self(), other, scale);
    }

    /**
     * {@link #add(Tensor, Number)} in place.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @param scale a factor for all elements
     * @return this tensor
     */
    public Tensor add_(Tensor other, Number scale) {
        return Arithmetic.ADD_SCALED.into(self(), List.of(self(), other), List.of(scale));
    }

    /**
     * {@code this - other}; not for bools.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor sub(Tensor other) {
        return Arithmetic.SUB.call(self(), other);
    }

    /**
     * {@code this - other}; not for bools.
     *
     * @param other subtracted from each element
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor sub(Number other) {
        return Arithmetic.SUB_SCALAR.call(self(), other);
    }

    /**
     * {@link #sub(Tensor)} in place.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return this tensor
     */
    public Tensor sub_(Tensor other) {
        return into(Arithmetic.SUB, other);
    }

    /**
     * {@link #sub(Number)} in place.
     *
     * @param other subtracted from each element
     * @return this tensor
     */
    public Tensor sub_(Number other) {
        return into(Arithmetic.SUB_SCALAR, other);
    }

    /**
     * {@code this * other}. Of bools, and.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor mul(Tensor other) {
        return Arithmetic.MUL.call(self(), other);
    }

    /**
     * {@code this * other}.
     *
     * @param other a factor for all elements
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor mul(Number other) {
        return Arithmetic.MUL_SCALAR.call(self(), other);
    }

    /**
     * {@link #mul(Tensor)} in place.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return this tensor
     */
    public Tensor mul_(Tensor other) {
        return into(Arithmetic.MUL, other);
    }

    /**
     * {@link #mul(Number)} in place.
     *
     * @param other a factor for all elements
     * @return this tensor
     */
    public Tensor mul_(Number other) {
        return into(Arithmetic.MUL_SCALAR, other);
    }

    /**
     * {@code this / other}; integers give float32, so that by 0 they give infinity or NaN.
     *
     * @param other the divisor, broadcast with this; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor div(Tensor other) {
        return Arithmetic.DIV.call(self(), other);
    }

    /**
     * {@code this / other}; integers give float32.
     *
     * @param other the divisor of all elements
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor div(Number other) {
        return Arithmetic.DIV_SCALAR.call(self(), other);
    }

    /**
     * {@link #div(Tensor)} in place; for floating tensors.
     *
     * @param other the divisor, broadcast to this shape
     * @return this tensor
     */
    public Tensor div_(Tensor other) {
        return into(Arithmetic.DIV, other);
    }

    /**
     * {@link #div(Number)} in place; for floating tensors.
     *
     * @param other the divisor of all elements
     * @return this tensor
     */
    public Tensor div_(Number other) {
        return into(Arithmetic.DIV_SCALAR, other);
    }

    /**
     * {@code other - this}.
     *
     * @param other from which each element is subtracted
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor rsub(Number other) {
        return Arithmetic.RSUB_SCALAR.call(self(), other);
    }

    /**
     * {@code other / this}.
     *
     * @param other what each element divides
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor rdiv(Number other) {
        return Arithmetic.RDIV_SCALAR.call(self(), other);
    }

    /**
     * The quotient rounded down; integers divided by 0 give 0.
     *
     * @param other the divisor, broadcast with this; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype; its gradient is 0
     */
    public Tensor floorDivide(Tensor other) {
        return Arithmetic.FLOOR_DIVIDE.call(self(), other);
    }

    /**
     * As {@link #floorDivide(Tensor)}.
     *
     * @param other the divisor of all elements
     * @return a new tensor of this shape; the number may raise the kind of its dtype; its gradient is 0
     */
    public Tensor floorDivide(Number other) {
        return Arithmetic.FLOOR_DIVIDE_SCALAR.call(self(), other);
    }

    /**
     * Python's remainder, with the sign of the divisor; integers by 0 give 0.
     *
     * @param other the divisor, broadcast with this; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor remainder(Tensor other) {
        return Arithmetic.REMAINDER.call(self(), other);
    }

    /**
     * As {@link #remainder(Tensor)}.
     *
     * @param other the divisor of all elements
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor remainder(Number other) {
        return Arithmetic.REMAINDER_SCALAR.call(self(), other);
    }

    /**
     * C's remainder, with the sign of the dividend; integers by 0 give 0.
     *
     * @param other the divisor, broadcast with this; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor fmod(Tensor other) {
        return Arithmetic.FMOD.call(self(), other);
    }

    /**
     * As {@link #fmod(Tensor)}.
     *
     * @param other the divisor of all elements
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor fmod(Number other) {
        return Arithmetic.FMOD_SCALAR.call(self(), other);
    }

    /**
     * {@code this ^ exponent}. Integers to a negative power: 1 stays 1, −1 alternates, others give 0.
     *
     * @param exponent broadcast with this; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor pow(Tensor exponent) {
        Objects.requireNonNull(exponent, "exponent");
        return Arithmetic.POW.call(self(), exponent);
    }

    /**
     * As {@link #pow(Tensor)}; powers such as 2, 0.5 and −1 are computed as products, roots and quotients.
     *
     * @param exponent of all elements
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor pow(Number exponent) {
        Objects.requireNonNull(exponent, "exponent");
        double p = exponent.doubleValue();
        if (self().dtype().isFloating()) {
            if (p == 2) {
                return square();
            } else if (p == 0.5) {
                return sqrt();
            } else if (p == -1) {
                return reciprocal();
            }
        }
        return Arithmetic.POW_SCALAR.call(self(), exponent);
    }

    /**
     * {@link #pow(Number)} in place.
     *
     * @param exponent of all elements
     * @return this tensor
     */
    public Tensor pow_(Number exponent) {
        return into(Arithmetic.POW_SCALAR, exponent);
    }

    /**
     * {@code base ^ this}.
     *
     * @param base of all powers
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor rpow(Number base) {
        return Arithmetic.RPOW_SCALAR.call(self(), base);
    }

    /**
     * {@code -this}.
     *
     * @return a new tensor of this shape and dtype; not for bool
     */
    public Tensor neg() {
        return Arithmetic.NEG.call(self());
    }

    /**
     * {@link #neg} in place.
     *
     * @return this tensor
     */
    public Tensor neg_() {
        return into(Arithmetic.NEG);
    }

    /**
     * The magnitude; its gradient at 0 is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor abs() {
        return Arithmetic.ABS.call(self());
    }

    /**
     * {@link #abs} in place.
     *
     * @return this tensor
     */
    public Tensor abs_() {
        return into(Arithmetic.ABS);
    }

    /**
     * −1, 0 or 1; NaN of NaN.
     *
     * @return a new tensor of this shape and dtype; its gradient is 0
     */
    public Tensor sign() {
        return Arithmetic.SIGN.call(self());
    }

    /**
     * {@code this * this}.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor square() {
        return Arithmetic.SQUARE.call(self());
    }

    /**
     * {@link #square} in place.
     *
     * @return this tensor
     */
    public Tensor square_() {
        return into(Arithmetic.SQUARE);
    }

    /**
     * {@code 1 / this}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor reciprocal() {
        return Arithmetic.RECIPROCAL.call(self());
    }

    /**
     * {@link #reciprocal} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor reciprocal_() {
        return into(Arithmetic.RECIPROCAL);
    }

    /**
     * The smaller one; NaN wins; ties share the gradient.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor minimum(Tensor other) {
        return Arithmetic.MINIMUM.call(self(), other);
    }

    /**
     * As {@link #minimum(Tensor)}.
     *
     * @param other the bound from above
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor minimum(Number other) {
        return Arithmetic.MINIMUM_SCALAR.call(self(), other);
    }

    /**
     * The larger one; NaN wins; ties share the gradient.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor maximum(Tensor other) {
        return Arithmetic.MAXIMUM.call(self(), other);
    }

    /**
     * As {@link #maximum(Tensor)}.
     *
     * @param other the bound from below
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor maximum(Number other) {
        return Arithmetic.MAXIMUM_SCALAR.call(self(), other);
    }

    /**
     * {@code min(max(this, low), high)}. The gradient passes within the bounds and on them.
     *
     * @param low the least value
     * @param high the largest value; it wins if it is below {@code low}
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor clamp(Number low, Number high) {
        return Arithmetic.CLAMP.call(self(), low, high);
    }

    /**
     * {@link #clamp(Number, Number)} in place.
     *
     * @param low the least value
     * @param high the largest value
     * @return this tensor
     */
    public Tensor clamp_(Number low, Number high) {
        return into(Arithmetic.CLAMP, low, high);
    }

    /**
     * Bounds by element; beyond one, the gradient goes to it.
     *
     * @param low the least values, broadcast with this
     * @param high the largest values, broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor clamp(Tensor low, Tensor high) {
        return Arithmetic.CLAMP_TENSOR.call(self(), low, high);
    }

    /**
     * {@code max(this, low)}; NaN stays. The gradient passes above the bound and on it.
     *
     * @param low the least value
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor clampMin(Number low) {
        return Arithmetic.CLAMP_MIN.call(self(), low);
    }

    /**
     * {@link #clampMin} in place.
     *
     * @param low the least value
     * @return this tensor
     */
    public Tensor clampMin_(Number low) {
        return into(Arithmetic.CLAMP_MIN, low);
    }

    /**
     * {@code min(this, high)}; NaN stays. The gradient passes below the bound and on it.
     *
     * @param high the largest value
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor clampMax(Number high) {
        return Arithmetic.CLAMP_MAX.call(self(), high);
    }

    /**
     * {@link #clampMax} in place.
     *
     * @param high the largest value
     * @return this tensor
     */
    public Tensor clampMax_(Number high) {
        return into(Arithmetic.CLAMP_MAX, high);
    }

    /**
     * {@code this * factor + addend} with one rounding.
     *
     * @param factor broadcast with this
     * @param addend broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor fma(Tensor factor, Tensor addend) {
        return Arithmetic.FMA.call(self(), factor, addend);
    }

    /**
     * {@code this + scale * x * y}.
     *
     * @param x the first factor, broadcast with this
     * @param y the second factor, broadcast with this
     * @param scale a factor for the product
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor addcmul(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCMUL.call(List.of(self(), x, y), List.of(scale));
    }

    /**
     * {@link #addcmul} in place.
     *
     * @param x the first factor, broadcast with this
     * @param y the second factor, broadcast with this
     * @param scale a factor for the product
     * @return this tensor
     */
    public Tensor addcmul_(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCMUL.into(self(), List.of(self(), x, y), List.of(scale));
    }

    /**
     * {@code this + scale * x / y}.
     *
     * @param x the dividend, broadcast with this
     * @param y the divisor, broadcast with this
     * @param scale a factor for the quotient
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor addcdiv(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCDIV.call(List.of(self(), x, y), List.of(scale));
    }

    /**
     * {@link #addcdiv} in place; for floating tensors.
     *
     * @param x the dividend, broadcast to this shape
     * @param y the divisor, broadcast to this shape
     * @param scale a factor for the quotient
     * @return this tensor
     */
    public Tensor addcdiv_(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCDIV.into(self(), List.of(self(), x, y), List.of(scale));
    }

    /**
     * {@code this + weight * (end - this)}; exactly {@code end} for a weight of 1.
     *
     * @param end what a weight of 1 gives, broadcast with this
     * @param weight from this (0) to {@code end} (1); may lie outside
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor lerp(Tensor end, Number weight) {
        return Arithmetic.LERP_SCALAR.call(self(), end, weight);
    }

    /**
     * As {@link #lerp(Tensor, Number)}, with a weight for each element.
     *
     * @param end what a weight of 1 gives, broadcast with this
     * @param weight broadcast with both
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor lerp(Tensor end, Tensor weight) {
        return Arithmetic.LERP.call(self(), end, weight);
    }

    /**
     * {@link #lerp(Tensor, Number)} in place.
     *
     * @param end what a weight of 1 gives, broadcast to this shape
     * @param weight from this (0) to {@code end} (1)
     * @return this tensor
     */
    public Tensor lerp_(Tensor end, Number weight) {
        return Arithmetic.LERP_SCALAR.into(self(), List.of(self(), end), List.of(weight));
    }

    /**
     * Sets all elements. An integer tensor takes a number without its fraction, a bool tensor whether it is not 0.
     *
     * @param value what each element becomes, rounded once to this dtype
     * @return this tensor
     * @throws DTypeException if an integer tensor cannot hold the number
     */
    public Tensor fill_(Number value) {
        DType dtype = self().dtype();
        if (dtype == DType.BOOL) {
            return into(Arithmetic.FILL_BOOL, value);
        }
        boolean cut = dtype.isIntegral() && (value instanceof Double || value instanceof Float);
        if (cut && !(Math.abs(value.doubleValue()) < 0x1p63)) {
            throw new DTypeException("fill_: " + value + " does not fit into " + dtype
                    + "\n  fix: use a tensor with a floating dtype, or a finite number.");
        }
        return into(Arithmetic.FILL, cut ? (Number) value.longValue() : value);
    }

    /**
     * Sets all elements to 0, or false.
     *
     * @return this tensor
     */
    public Tensor zero_() {
        return fill_(0);
    }

    /**
     * The quotient, rounded: {@link Rounding#FLOOR} is {@link #floorDivide(Tensor)}. Its gradient is 0.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @param rounding down, or towards 0
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor div(Tensor other, Rounding rounding) {
        return (rounding == Rounding.FLOOR ? Arithmetic.FLOOR_DIVIDE : Arithmetic.TRUNC_DIVIDE).call(self(), other);
    }

    /**
     * The quotient, rounded: {@link Rounding#FLOOR} is {@link #floorDivide(Number)}. Its gradient is 0.
     *
     * @param other what each element is divided by
     * @param rounding down, or towards 0
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor div(Number other, Rounding rounding) {
        return (rounding == Rounding.FLOOR ? Arithmetic.FLOOR_DIVIDE_SCALAR : Arithmetic.TRUNC_DIVIDE_SCALAR)
                .call(self(), other);
    }

    /**
     * {@code sqrt(this² + other²)} without overflow; the gradients at the origin are 0.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor hypot(Tensor other) {
        return Arithmetic.HYPOT.call(self(), other);
    }

    /**
     * 0 where this is negative, 1 where it is positive, else the value.
     *
     * @param values where this is 0; broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor heaviside(Tensor values) {
        return Arithmetic.HEAVISIDE.call(self(), values);
    }

    /**
     * {@code this * log(other)}, and 0 where this is 0 and the other a number.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor xlogy(Tensor other) {
        return Arithmetic.XLOGY.call(self(), other);
    }

    /**
     * {@code log(exp(this) + exp(other))} without overflow.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor logaddexp(Tensor other) {
        return Arithmetic.LOGADDEXP.call(self(), other);
    }

    /**
     * {@code log2(2^this + 2^other)} without overflow.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor logaddexp2(Tensor other) {
        return Arithmetic.LOGADDEXP2.call(self(), other);
    }

    /**
     * The sign, as {@link #sign}.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor sgn() {
        return Arithmetic.SIGN.call(self());
    }

    /**
     * 0 in the place of NaN, and the largest and smallest number of the dtype in that of infinities; there the gradient is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor nanToNum() {
        return nanToNum(0, null, null);
    }

    /**
     * Other numbers in the place of NaN and of infinities; there the gradient is 0. Integers stay as they are.
     *
     * @param nan in the place of NaN
     * @param posInf in the place of ∞; null for the largest number of the dtype
     * @param negInf in the place of −∞; null for the smallest number of the dtype
     * @return a new tensor of this shape and dtype
     */
    public Tensor nanToNum(Number nan, @Nullable Number posInf, @Nullable Number negInf) {
        DType dtype = self().dtype();
        if (!dtype.isFloating()) {
            return self().copy();
        }
        double most = largest(dtype);
        List<Number> numbers = List.of(nan, posInf == null ? most : posInf, negInf == null ? -most : negInf);
        return Arithmetic.NAN_TO_NUM.call(List.of(self()), numbers);
    }

    private static double largest(DType dtype) {
        return switch (dtype) {
            case FLOAT16 -> 65504;
            case BFLOAT16 -> 0x1.fep127;
            case FLOAT32 -> Float.MAX_VALUE;
            default -> Double.MAX_VALUE;
        };
    }

    // ---------------------------------------------------------------- comparisons: bool results

    /**
     * {@code this == other}, of bools and numbers; NaN equals nothing. Operands are compared in their promoted dtype.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor eq(Tensor other) {
        return Comparisons.EQ.call(self(), other);
    }

    /**
     * As {@link #eq(Tensor)}.
     *
     * @param other what each element is compared with
     * @return a new bool tensor of this shape
     */
    public Tensor eq(Number other) {
        return Comparisons.EQ_SCALAR.call(self(), other);
    }

    /**
     * {@code this != other}; NaN differs from everything.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor ne(Tensor other) {
        return Comparisons.NE.call(self(), other);
    }

    /**
     * As {@link #ne(Tensor)}.
     *
     * @param other what each element is compared with
     * @return a new bool tensor of this shape
     */
    public Tensor ne(Number other) {
        return Comparisons.NE_SCALAR.call(self(), other);
    }

    /**
     * {@code this < other}; false where either is NaN.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor lt(Tensor other) {
        return Comparisons.LT.call(self(), other);
    }

    /**
     * As {@link #lt(Tensor)}.
     *
     * @param other what each element is compared with
     * @return a new bool tensor of this shape
     */
    public Tensor lt(Number other) {
        return Comparisons.LT_SCALAR.call(self(), other);
    }

    /**
     * {@code this <= other}; false where either is NaN.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor le(Tensor other) {
        return Comparisons.LE.call(self(), other);
    }

    /**
     * As {@link #le(Tensor)}.
     *
     * @param other what each element is compared with
     * @return a new bool tensor of this shape
     */
    public Tensor le(Number other) {
        return Comparisons.LE_SCALAR.call(self(), other);
    }

    /**
     * {@code this > other}; false where either is NaN.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor gt(Tensor other) {
        return Comparisons.GT.call(self(), other);
    }

    /**
     * As {@link #gt(Tensor)}.
     *
     * @param other what each element is compared with
     * @return a new bool tensor of this shape
     */
    public Tensor gt(Number other) {
        return Comparisons.GT_SCALAR.call(self(), other);
    }

    /**
     * {@code this >= other}; false where either is NaN.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor ge(Tensor other) {
        return Comparisons.GE.call(self(), other);
    }

    /**
     * As {@link #ge(Tensor)}.
     *
     * @param other what each element is compared with
     * @return a new bool tensor of this shape
     */
    public Tensor ge(Number other) {
        return Comparisons.GE_SCALAR.call(self(), other);
    }

    /**
     * Equal, or {@code |this - other| <= absolute + relative * |other|}, element by element. NaN is close to nothing.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @param relative how far apart they may be, as a share of {@code |other|}
     * @param absolute how far apart they may be in any case
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor isClose(Tensor other, double relative, double absolute) {
        return Comparisons.IS_CLOSE.call(List.of(self(), other), List.of(relative, absolute));
    }

    /**
     * As {@link #isClose(Tensor, double, double)}; two NaNs may count as close.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @param relative allowed distance for each unit of {@code |other|}
     * @param absolute allowed distance besides
     * @param equalNan whether two NaNs are close
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor isClose(Tensor other, double relative, double absolute, boolean equalNan) {
        Tensor close = isClose(other, relative, absolute);
        return equalNan ? close.logicalOr(self().isNan().logicalAnd(other.isNan())) : close;
    }

    /** {@return whether each element is NaN; a bool tensor of this shape} */
    public Tensor isNan() {
        return Comparisons.IS_NAN.call(self());
    }

    /** {@return whether each element is infinite, of either sign; a bool tensor of this shape} */
    public Tensor isInf() {
        return Comparisons.IS_INF.call(self());
    }

    /** {@return whether each element is neither infinite nor NaN; a bool tensor of this shape} */
    public Tensor isFinite() {
        return Comparisons.IS_FINITE.call(self());
    }

    // ---------------------------------------------------------------- logic (anything but 0 is true) and bits

    /**
     * Whether both are not 0.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor logicalAnd(Tensor other) {
        return Comparisons.LOGICAL_AND.call(self(), other);
    }

    /**
     * Whether one or both are not 0.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor logicalOr(Tensor other) {
        return Comparisons.LOGICAL_OR.call(self(), other);
    }

    /**
     * Whether exactly one is not 0.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new bool tensor of the broadcast shape
     */
    public Tensor logicalXor(Tensor other) {
        return Comparisons.LOGICAL_XOR.call(self(), other);
    }

    /** {@return whether each element is 0; a bool tensor of this shape} */
    public Tensor logicalNot() {
        return Comparisons.LOGICAL_NOT.call(self());
    }

    /**
     * Bit by bit; integers and bool.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor bitAnd(Tensor other) {
        return Comparisons.BIT_AND.call(self(), other);
    }

    /**
     * As {@link #bitAnd(Tensor)}.
     *
     * @param other an integer, the mask for all elements
     * @return a new tensor of this shape and dtype
     */
    public Tensor bitAnd(Number other) {
        return Comparisons.BIT_AND_SCALAR.call(self(), other);
    }

    /**
     * Or, bit by bit; integers and bool.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor bitOr(Tensor other) {
        return Comparisons.BIT_OR.call(self(), other);
    }

    /**
     * As {@link #bitOr(Tensor)}.
     *
     * @param other an integer, the mask for all elements
     * @return a new tensor of this shape and dtype
     */
    public Tensor bitOr(Number other) {
        return Comparisons.BIT_OR_SCALAR.call(self(), other);
    }

    /**
     * Exclusive or, bit by bit; integers and bool.
     *
     * @param other the second operand, broadcast with this one; on the same device
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor bitXor(Tensor other) {
        return Comparisons.BIT_XOR.call(self(), other);
    }

    /**
     * As {@link #bitXor(Tensor)}.
     *
     * @param other an integer, the mask for all elements
     * @return a new tensor of this shape and dtype
     */
    public Tensor bitXor(Number other) {
        return Comparisons.BIT_XOR_SCALAR.call(self(), other);
    }

    /**
     * All bits turned over; of bool, not. Integers and bool.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor bitNot() {
        return Comparisons.BIT_NOT.call(self());
    }

    /**
     * Moves the bits of integers to the left; shifts by less than 0, or by the width or more, give 0.
     *
     * @param other by how many bits, an integer tensor broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor shiftLeft(Tensor other) {
        return Comparisons.SHIFT_LEFT.call(self(), other);
    }

    /**
     * As {@link #shiftLeft(Tensor)}.
     *
     * @param other by how many bits
     * @return a new tensor of this shape and dtype
     */
    public Tensor shiftLeft(Number other) {
        return Comparisons.SHIFT_LEFT_SCALAR.call(self(), other);
    }

    /**
     * Moves the bits to the right; the sign stays. For integers.
     *
     * @param other by how many bits, an integer tensor broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor shiftRight(Tensor other) {
        return Comparisons.SHIFT_RIGHT.call(self(), other);
    }

    /**
     * As {@link #shiftRight(Tensor)}.
     *
     * @param other by how many bits
     * @return a new tensor of this shape and dtype
     */
    public Tensor shiftRight(Number other) {
        return Comparisons.SHIFT_RIGHT_SCALAR.call(self(), other);
    }

    // ---------------------------------------------------------------- choices

    /**
     * This where the condition holds (is not 0), else {@code other}. No gradient reaches what is not taken.
     *
     * @param condition bool or numbers, broadcast with both
     * @param other taken where the condition is 0, broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype
     */
    public Tensor where(Tensor condition, Tensor other) {
        return Comparisons.WHERE.call(condition, self(), other);
    }

    /**
     * As {@link #where(Tensor, Tensor)}.
     *
     * @param condition bool or numbers, broadcast with this
     * @param other taken where the condition is 0
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor where(Tensor condition, Number other) {
        return Comparisons.WHERE_SCALAR.call(condition, self(), other);
    }

    /**
     * {@code x} where the condition holds (is not 0), else {@code y}; all three broadcast.
     *
     * @param condition bool or numbers
     * @param x taken where the condition holds
     * @param y taken where it does not
     * @return a new tensor of the broadcast shape and promoted dtype of {@code x} and {@code y}
     */
    public static Tensor where(Tensor condition, Tensor x, Tensor y) {
        return Comparisons.WHERE.call(condition, x, y);
    }

    /**
     * {@code value} where the mask holds (is not 0), else this.
     *
     * @param mask bool or numbers, broadcast with this
     * @param value what these elements become; no gradient reaches them
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor maskedFill(Tensor mask, Number value) {
        return Comparisons.MASKED_FILL.call(self(), mask, value);
    }

    /**
     * {@link #maskedFill} in place.
     *
     * @param mask bool or numbers, broadcast to this shape
     * @param value what these elements become
     * @return this tensor
     */
    public Tensor maskedFill_(Tensor mask, Number value) {
        return Comparisons.MASKED_FILL.into(self(), List.of(self(), mask), List.of(value));
    }

    // ---------------------------------------------------------------- roots, exponentials, logarithms

    /**
     * The square root; NaN below 0. The gradient at 0 is infinite.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor sqrt() {
        return Elementary.SQRT.call(self());
    }

    /**
     * {@link #sqrt} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor sqrt_() {
        return into(Elementary.SQRT);
    }

    /**
     * {@code 1 / sqrt(this)}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor rsqrt() {
        return Elementary.RSQRT.call(self());
    }

    /**
     * {@code e ^ this}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor exp() {
        return Elementary.EXP.call(self());
    }

    /**
     * {@link #exp} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor exp_() {
        return into(Elementary.EXP);
    }

    /**
     * {@code exp(this) - 1}, accurate near 0.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor expm1() {
        return Elementary.EXPM1.call(self());
    }

    /**
     * {@code 2 ^ this}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor exp2() {
        return Elementary.EXP2.call(self());
    }

    /**
     * The natural logarithm; −∞ at 0, NaN below it.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor log() {
        return Elementary.LOG.call(self());
    }

    /**
     * {@link #log} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor log_() {
        return into(Elementary.LOG);
    }

    /**
     * {@code log(1 + this)}, accurate near 0.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor log1p() {
        return Elementary.LOG1P.call(self());
    }

    /**
     * The logarithm to the base 2.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor log2() {
        return Elementary.LOG2.call(self());
    }

    /**
     * The logarithm to the base 10.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor log10() {
        return Elementary.LOG10.call(self());
    }

    // ---------------------------------------------------------------- trigonometry and the error function

    /**
     * The sine of angles in radians.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor sin() {
        return Elementary.SIN.call(self());
    }

    /**
     * The cosine of angles in radians.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor cos() {
        return Elementary.COS.call(self());
    }

    /**
     * The tangent of angles in radians.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor tan() {
        return Elementary.TAN.call(self());
    }

    /**
     * The angle in [−π/2, π/2] whose sine this is; NaN beyond 1.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor asin() {
        return Elementary.ASIN.call(self());
    }

    /**
     * The angle in [0, π] whose cosine this is; NaN beyond 1.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor acos() {
        return Elementary.ACOS.call(self());
    }

    /**
     * The angle in [−π/2, π/2] whose tangent this is.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor atan() {
        return Elementary.ATAN.call(self());
    }

    /**
     * The hyperbolic sine, {@code (exp(this) - exp(-this)) / 2}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor sinh() {
        return Elementary.SINH.call(self());
    }

    /**
     * The hyperbolic cosine, {@code (exp(this) + exp(-this)) / 2}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor cosh() {
        return Elementary.COSH.call(self());
    }

    /**
     * The hyperbolic tangent, {@code sinh(this) / cosh(this)}, in [−1, 1].
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor tanh() {
        return Elementary.TANH.call(self());
    }

    /**
     * {@link #tanh} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor tanh_() {
        return into(Elementary.TANH);
    }

    /**
     * The number whose hyperbolic sine this is.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor asinh() {
        return Elementary.ASINH.call(self());
    }

    /**
     * The number from 0 up whose hyperbolic cosine this is; NaN below 1.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor acosh() {
        return Elementary.ACOSH.call(self());
    }

    /**
     * The number whose hyperbolic tangent this is; ±∞ at ±1, NaN beyond.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor atanh() {
        return Elementary.ATANH.call(self());
    }

    /**
     * The error function, {@code 2 / sqrt(π) * ∫ exp(-t²) dt} from 0 to this.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor erf() {
        return Elementary.ERF.call(self());
    }

    /**
     * {@code 1 - erf(this)}, accurate where that is small.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor erfc() {
        return Elementary.ERFC.call(self());
    }

    /**
     * The angle of the point (x, this); its gradients at the origin and at infinity are 0.
     *
     * @param x the abscissa, broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype, floating; angles in [−π, π]
     */
    public Tensor atan2(Tensor x) {
        return Arithmetic.ATAN2.call(self(), x);
    }

    /**
     * The magnitude of this with the sign of the other.
     *
     * @param sign of which only the sign is read, that of −0 and NaN too; broadcast with this
     * @return a new tensor of the broadcast shape and promoted dtype, floating
     */
    public Tensor copysign(Tensor sign) {
        return Arithmetic.COPYSIGN.call(self(), sign);
    }

    // ---------------------------------------------------------------- rounding: the gradient is 0

    /**
     * The next integer below; its gradient is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor floor() {
        return Elementary.FLOOR.call(self());
    }

    /**
     * {@link #floor} in place.
     *
     * @return this tensor
     */
    public Tensor floor_() {
        return into(Elementary.FLOOR);
    }

    /**
     * The next integer above; its gradient is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor ceil() {
        return Elementary.CEIL.call(self());
    }

    /**
     * {@link #ceil} in place.
     *
     * @return this tensor
     */
    public Tensor ceil_() {
        return into(Elementary.CEIL);
    }

    /**
     * The nearest integer, half to even; its gradient is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor round() {
        return Elementary.ROUND.call(self());
    }

    /**
     * {@link #round} in place.
     *
     * @return this tensor
     */
    public Tensor round_() {
        return into(Elementary.ROUND);
    }

    /**
     * The next integer towards 0; its gradient is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor trunc() {
        return Elementary.TRUNC.call(self());
    }

    /**
     * What lies behind the point, with the sign of this; its gradient is 1.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor frac() {
        return Elementary.FRAC.call(self());
    }

    /**
     * Degrees in radians.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor deg2rad() {
        return Elementary.DEG2RAD.call(self());
    }

    /**
     * Radians in degrees.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor rad2deg() {
        return Elementary.RAD2DEG.call(self());
    }

    /**
     * {@code sin(πx) / (πx)}, and 1 at 0.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor sinc() {
        return Elementary.SINC.call(self());
    }

    /**
     * {@code log(this / (1 - this))}, the inverse of {@code sigmoid}; NaN outside of [0, 1].
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor logit() {
        return Elementary.LOGIT.call(self());
    }

    /**
     * As {@link #logit()}, of this kept between eps and 1 − eps.
     *
     * @param eps how near 0 and 1 it may come
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor logit(double eps) {
        return Elementary.LOGIT.call(clamp(eps, 1 - eps));
    }

    /**
     * To so many digits behind the point, half to even; negative numbers mean digits before it. The gradient is 0.
     *
     * @param decimals digits behind the point
     * @return a new tensor of this shape; integers become float32
     */
    public Tensor round(int decimals) {
        double power = Math.pow(10, Math.abs(decimals));
        return decimals == 0
                ? round()
                : decimals > 0
                        ? mul(power).round().div(power)
                        : div(power).round().mul(power);
    }
}
