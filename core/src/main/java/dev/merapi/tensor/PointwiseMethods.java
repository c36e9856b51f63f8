// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.DTypeException;
import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.Elementary;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;

/**
 * What a tensor does element by element. Operands broadcast; dtypes promote as in PyTorch (a scalar only raises the
 * kind: an int64 tensor plus 0.5 is float32); float16 and bfloat16 compute in float32 and round once. A method whose name
 * ends in {@code _} writes this tensor and returns it: its dtype and shape stay, and the result must be castable to it.
 * All are differentiable to any order where the function is.
 */
public abstract sealed class PointwiseMethods extends TensorFactories permits ShapeMethods {
    PointwiseMethods() {}

    abstract Tensor self();

    private Tensor into(PointwiseOp op) {
        return op.into(self(), List.of(self()), List.of());
    }

    private Tensor into(PointwiseOp op, Tensor other) {
        return op.into(self(), List.of(self(), other), List.of());
    }

    private Tensor into(PointwiseOp op, Number... scalars) {
        return op.into(self(), List.of(self()), List.of(scalars));
    }

    // ---------------------------------------------------------------- arithmetic

    /** {@code this + other}. Of bools, or. */
    public Tensor add(Tensor other) {
        return Arithmetic.ADD.call(self(), other);
    }

    public Tensor add(Number other) {
        return Arithmetic.ADD_SCALAR.call(self(), other);
    }

    public Tensor add_(Tensor other) {
        return into(Arithmetic.ADD, other);
    }

    public Tensor add_(Number other) {
        return into(Arithmetic.ADD_SCALAR, other);
    }

    /** {@code this + scale * other} in one pass. */
    public Tensor add(Tensor other, Number scale) {
        return Arithmetic.ADD_SCALED.call(self(), other, scale);
    }

    public Tensor add_(Tensor other, Number scale) {
        return Arithmetic.ADD_SCALED.into(self(), List.of(self(), other), List.of(scale));
    }

    /** {@code this - other}; not for bools. */
    public Tensor sub(Tensor other) {
        return Arithmetic.SUB.call(self(), other);
    }

    public Tensor sub(Number other) {
        return Arithmetic.SUB_SCALAR.call(self(), other);
    }

    public Tensor sub_(Tensor other) {
        return into(Arithmetic.SUB, other);
    }

    public Tensor sub_(Number other) {
        return into(Arithmetic.SUB_SCALAR, other);
    }

    /** {@code this * other}. Of bools, and. */
    public Tensor mul(Tensor other) {
        return Arithmetic.MUL.call(self(), other);
    }

    public Tensor mul(Number other) {
        return Arithmetic.MUL_SCALAR.call(self(), other);
    }

    public Tensor mul_(Tensor other) {
        return into(Arithmetic.MUL, other);
    }

    public Tensor mul_(Number other) {
        return into(Arithmetic.MUL_SCALAR, other);
    }

    /** {@code this / other}; integers give float32, so that by 0 they give infinity or NaN. */
    public Tensor div(Tensor other) {
        return Arithmetic.DIV.call(self(), other);
    }

    public Tensor div(Number other) {
        return Arithmetic.DIV_SCALAR.call(self(), other);
    }

    public Tensor div_(Tensor other) {
        return into(Arithmetic.DIV, other);
    }

    public Tensor div_(Number other) {
        return into(Arithmetic.DIV_SCALAR, other);
    }

    /** {@code other - this}. */
    public Tensor rsub(Number other) {
        return Arithmetic.RSUB_SCALAR.call(self(), other);
    }

    /** {@code other / this}. */
    public Tensor rdiv(Number other) {
        return Arithmetic.RDIV_SCALAR.call(self(), other);
    }

    /** The quotient rounded down; integers divided by 0 give 0. */
    public Tensor floorDivide(Tensor other) {
        return Arithmetic.FLOOR_DIVIDE.call(self(), other);
    }

    public Tensor floorDivide(Number other) {
        return Arithmetic.FLOOR_DIVIDE_SCALAR.call(self(), other);
    }

    /** Python's remainder, with the sign of the divisor; integers by 0 give 0. */
    public Tensor remainder(Tensor other) {
        return Arithmetic.REMAINDER.call(self(), other);
    }

    public Tensor remainder(Number other) {
        return Arithmetic.REMAINDER_SCALAR.call(self(), other);
    }

    /** C's remainder, with the sign of the dividend; integers by 0 give 0. */
    public Tensor fmod(Tensor other) {
        return Arithmetic.FMOD.call(self(), other);
    }

    public Tensor fmod(Number other) {
        return Arithmetic.FMOD_SCALAR.call(self(), other);
    }

    /** {@code this ^ exponent}. Integers to a negative power: 1 stays 1, −1 alternates, others give 0. */
    public Tensor pow(Tensor exponent) {
        Objects.requireNonNull(exponent, "exponent");
        return Arithmetic.POW.call(self(), exponent);
    }

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

    public Tensor pow_(Number exponent) {
        return into(Arithmetic.POW_SCALAR, exponent);
    }

    /** {@code base ^ this}. */
    public Tensor rpow(Number base) {
        return Arithmetic.RPOW_SCALAR.call(self(), base);
    }

    /** {@code -this}. */
    public Tensor neg() {
        return Arithmetic.NEG.call(self());
    }

    public Tensor neg_() {
        return into(Arithmetic.NEG);
    }

    /** Its gradient at 0 is 0. */
    public Tensor abs() {
        return Arithmetic.ABS.call(self());
    }

    public Tensor abs_() {
        return into(Arithmetic.ABS);
    }

    /** −1, 0 or 1; NaN of NaN. */
    public Tensor sign() {
        return Arithmetic.SIGN.call(self());
    }

    /** {@code this * this}. */
    public Tensor square() {
        return Arithmetic.SQUARE.call(self());
    }

    public Tensor square_() {
        return into(Arithmetic.SQUARE);
    }

    /** {@code 1 / this}. */
    public Tensor reciprocal() {
        return Arithmetic.RECIPROCAL.call(self());
    }

    public Tensor reciprocal_() {
        return into(Arithmetic.RECIPROCAL);
    }

    /** The smaller one; NaN wins; ties share the gradient. */
    public Tensor minimum(Tensor other) {
        return Arithmetic.MINIMUM.call(self(), other);
    }

    public Tensor minimum(Number other) {
        return Arithmetic.MINIMUM_SCALAR.call(self(), other);
    }

    /** The larger one; NaN wins; ties share the gradient. */
    public Tensor maximum(Tensor other) {
        return Arithmetic.MAXIMUM.call(self(), other);
    }

    public Tensor maximum(Number other) {
        return Arithmetic.MAXIMUM_SCALAR.call(self(), other);
    }

    /** {@code min(max(this, low), high)}. The gradient passes within the bounds and on them. */
    public Tensor clamp(Number low, Number high) {
        return Arithmetic.CLAMP.call(self(), low, high);
    }

    public Tensor clamp_(Number low, Number high) {
        return into(Arithmetic.CLAMP, low, high);
    }

    /** Bounds by element; beyond one, the gradient goes to it. */
    public Tensor clamp(Tensor low, Tensor high) {
        return Arithmetic.CLAMP_TENSOR.call(self(), low, high);
    }

    public Tensor clampMin(Number low) {
        return Arithmetic.CLAMP_MIN.call(self(), low);
    }

    public Tensor clampMin_(Number low) {
        return into(Arithmetic.CLAMP_MIN, low);
    }

    public Tensor clampMax(Number high) {
        return Arithmetic.CLAMP_MAX.call(self(), high);
    }

    public Tensor clampMax_(Number high) {
        return into(Arithmetic.CLAMP_MAX, high);
    }

    /** {@code this * factor + addend} with one rounding. */
    public Tensor fma(Tensor factor, Tensor addend) {
        return Arithmetic.FMA.call(self(), factor, addend);
    }

    /** {@code this + scale * x * y}. */
    public Tensor addcmul(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCMUL.call(List.of(self(), x, y), List.of(scale));
    }

    public Tensor addcmul_(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCMUL.into(self(), List.of(self(), x, y), List.of(scale));
    }

    /** {@code this + scale * x / y}. */
    public Tensor addcdiv(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCDIV.call(List.of(self(), x, y), List.of(scale));
    }

    public Tensor addcdiv_(Tensor x, Tensor y, Number scale) {
        return Arithmetic.ADDCDIV.into(self(), List.of(self(), x, y), List.of(scale));
    }

    /** {@code this + weight * (end - this)}; exactly {@code end} for a weight of 1. */
    public Tensor lerp(Tensor end, Number weight) {
        return Arithmetic.LERP_SCALAR.call(self(), end, weight);
    }

    public Tensor lerp(Tensor end, Tensor weight) {
        return Arithmetic.LERP.call(self(), end, weight);
    }

    public Tensor lerp_(Tensor end, Number weight) {
        return Arithmetic.LERP_SCALAR.into(self(), List.of(self(), end), List.of(weight));
    }

    /**
     * Sets all elements. An integer tensor takes a number without its fraction, a bool tensor whether it is not 0.
     *
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

    public Tensor zero_() {
        return fill_(0);
    }

    // ---------------------------------------------------------------- comparisons: bool results

    public Tensor eq(Tensor other) {
        return Comparisons.EQ.call(self(), other);
    }

    public Tensor eq(Number other) {
        return Comparisons.EQ_SCALAR.call(self(), other);
    }

    public Tensor ne(Tensor other) {
        return Comparisons.NE.call(self(), other);
    }

    public Tensor ne(Number other) {
        return Comparisons.NE_SCALAR.call(self(), other);
    }

    public Tensor lt(Tensor other) {
        return Comparisons.LT.call(self(), other);
    }

    public Tensor lt(Number other) {
        return Comparisons.LT_SCALAR.call(self(), other);
    }

    public Tensor le(Tensor other) {
        return Comparisons.LE.call(self(), other);
    }

    public Tensor le(Number other) {
        return Comparisons.LE_SCALAR.call(self(), other);
    }

    public Tensor gt(Tensor other) {
        return Comparisons.GT.call(self(), other);
    }

    public Tensor gt(Number other) {
        return Comparisons.GT_SCALAR.call(self(), other);
    }

    public Tensor ge(Tensor other) {
        return Comparisons.GE.call(self(), other);
    }

    public Tensor ge(Number other) {
        return Comparisons.GE_SCALAR.call(self(), other);
    }

    /** Equal, or {@code |this - other| <= absolute + relative * |other|}, element by element. NaN is close to nothing. */
    public Tensor isClose(Tensor other, double relative, double absolute) {
        return Comparisons.IS_CLOSE.call(List.of(self(), other), List.of(relative, absolute));
    }

    public Tensor isNan() {
        return Comparisons.IS_NAN.call(self());
    }

    public Tensor isInf() {
        return Comparisons.IS_INF.call(self());
    }

    public Tensor isFinite() {
        return Comparisons.IS_FINITE.call(self());
    }

    // ---------------------------------------------------------------- logic (anything but 0 is true) and bits

    public Tensor logicalAnd(Tensor other) {
        return Comparisons.LOGICAL_AND.call(self(), other);
    }

    public Tensor logicalOr(Tensor other) {
        return Comparisons.LOGICAL_OR.call(self(), other);
    }

    public Tensor logicalXor(Tensor other) {
        return Comparisons.LOGICAL_XOR.call(self(), other);
    }

    public Tensor logicalNot() {
        return Comparisons.LOGICAL_NOT.call(self());
    }

    /** Bit by bit; integers and bool. */
    public Tensor bitAnd(Tensor other) {
        return Comparisons.BIT_AND.call(self(), other);
    }

    public Tensor bitAnd(Number other) {
        return Comparisons.BIT_AND_SCALAR.call(self(), other);
    }

    public Tensor bitOr(Tensor other) {
        return Comparisons.BIT_OR.call(self(), other);
    }

    public Tensor bitOr(Number other) {
        return Comparisons.BIT_OR_SCALAR.call(self(), other);
    }

    public Tensor bitXor(Tensor other) {
        return Comparisons.BIT_XOR.call(self(), other);
    }

    public Tensor bitXor(Number other) {
        return Comparisons.BIT_XOR_SCALAR.call(self(), other);
    }

    public Tensor bitNot() {
        return Comparisons.BIT_NOT.call(self());
    }

    /** Integers; shifts by less than 0, or by the width or more, give 0. */
    public Tensor shiftLeft(Tensor other) {
        return Comparisons.SHIFT_LEFT.call(self(), other);
    }

    public Tensor shiftLeft(Number other) {
        return Comparisons.SHIFT_LEFT_SCALAR.call(self(), other);
    }

    /** Arithmetic shift of integers. */
    public Tensor shiftRight(Tensor other) {
        return Comparisons.SHIFT_RIGHT.call(self(), other);
    }

    public Tensor shiftRight(Number other) {
        return Comparisons.SHIFT_RIGHT_SCALAR.call(self(), other);
    }

    // ---------------------------------------------------------------- choices

    /** This where the condition holds (is not 0), else {@code other}. No gradient reaches what is not taken. */
    public Tensor where(Tensor condition, Tensor other) {
        return Comparisons.WHERE.call(condition, self(), other);
    }

    public Tensor where(Tensor condition, Number other) {
        return Comparisons.WHERE_SCALAR.call(condition, self(), other);
    }

    /** {@code x} where the condition holds (is not 0), else {@code y}; all three broadcast. */
    public static Tensor where(Tensor condition, Tensor x, Tensor y) {
        return Comparisons.WHERE.call(condition, x, y);
    }

    /** {@code value} where the mask holds (is not 0), else this. */
    public Tensor maskedFill(Tensor mask, Number value) {
        return Comparisons.MASKED_FILL.call(self(), mask, value);
    }

    public Tensor maskedFill_(Tensor mask, Number value) {
        return Comparisons.MASKED_FILL.into(self(), List.of(self(), mask), List.of(value));
    }

    // ---------------------------------------------------------------- roots, exponentials, logarithms

    public Tensor sqrt() {
        return Elementary.SQRT.call(self());
    }

    public Tensor sqrt_() {
        return into(Elementary.SQRT);
    }

    /** {@code 1 / sqrt(this)}. */
    public Tensor rsqrt() {
        return Elementary.RSQRT.call(self());
    }

    public Tensor exp() {
        return Elementary.EXP.call(self());
    }

    public Tensor exp_() {
        return into(Elementary.EXP);
    }

    /** {@code exp(this) - 1}, accurate near 0. */
    public Tensor expm1() {
        return Elementary.EXPM1.call(self());
    }

    public Tensor exp2() {
        return Elementary.EXP2.call(self());
    }

    /** The natural logarithm. */
    public Tensor log() {
        return Elementary.LOG.call(self());
    }

    public Tensor log_() {
        return into(Elementary.LOG);
    }

    /** {@code log(1 + this)}, accurate near 0. */
    public Tensor log1p() {
        return Elementary.LOG1P.call(self());
    }

    public Tensor log2() {
        return Elementary.LOG2.call(self());
    }

    public Tensor log10() {
        return Elementary.LOG10.call(self());
    }

    // ---------------------------------------------------------------- trigonometry and the error function

    public Tensor sin() {
        return Elementary.SIN.call(self());
    }

    public Tensor cos() {
        return Elementary.COS.call(self());
    }

    public Tensor tan() {
        return Elementary.TAN.call(self());
    }

    public Tensor asin() {
        return Elementary.ASIN.call(self());
    }

    public Tensor acos() {
        return Elementary.ACOS.call(self());
    }

    public Tensor atan() {
        return Elementary.ATAN.call(self());
    }

    public Tensor sinh() {
        return Elementary.SINH.call(self());
    }

    public Tensor cosh() {
        return Elementary.COSH.call(self());
    }

    public Tensor tanh() {
        return Elementary.TANH.call(self());
    }

    public Tensor tanh_() {
        return into(Elementary.TANH);
    }

    public Tensor asinh() {
        return Elementary.ASINH.call(self());
    }

    public Tensor acosh() {
        return Elementary.ACOSH.call(self());
    }

    public Tensor atanh() {
        return Elementary.ATANH.call(self());
    }

    public Tensor erf() {
        return Elementary.ERF.call(self());
    }

    public Tensor erfc() {
        return Elementary.ERFC.call(self());
    }

    /** The angle of the point (x, this); its gradients at the origin and at infinity are 0. */
    public Tensor atan2(Tensor x) {
        return Arithmetic.ATAN2.call(self(), x);
    }

    /** The magnitude of this with the sign of the other. */
    public Tensor copysign(Tensor sign) {
        return Arithmetic.COPYSIGN.call(self(), sign);
    }

    // ---------------------------------------------------------------- rounding: the gradient is 0

    public Tensor floor() {
        return Elementary.FLOOR.call(self());
    }

    public Tensor floor_() {
        return into(Elementary.FLOOR);
    }

    public Tensor ceil() {
        return Elementary.CEIL.call(self());
    }

    public Tensor ceil_() {
        return into(Elementary.CEIL);
    }

    /** Half to even. */
    public Tensor round() {
        return Elementary.ROUND.call(self());
    }

    public Tensor round_() {
        return into(Elementary.ROUND);
    }

    public Tensor trunc() {
        return Elementary.TRUNC.call(self());
    }

    // ---------------------------------------------------------------- activations

    /** {@code max(this, 0)}; the gradient at 0 is 0, NaN stays. */
    public Tensor relu() {
        return Activations.RELU.call(self());
    }

    public Tensor relu_() {
        return into(Activations.RELU);
    }

    /** {@code 1 / (1 + exp(-this))}. */
    public Tensor sigmoid() {
        return Activations.SIGMOID.call(self());
    }

    public Tensor sigmoid_() {
        return into(Activations.SIGMOID);
    }

    /** {@code log(sigmoid(this))} without underflow. */
    public Tensor logSigmoid() {
        return Activations.LOG_SIGMOID.call(self());
    }

    /** {@code this * sigmoid(this)}. */
    public Tensor silu() {
        return Activations.SILU.call(self());
    }

    public Tensor silu_() {
        return into(Activations.SILU);
    }

    /** {@code this * P(Z <= this)} for a standard normal Z, by the error function. */
    public Tensor gelu() {
        return Activations.GELU.call(self());
    }

    /** The tanh approximation of {@link #gelu}. */
    public Tensor geluTanh() {
        return Activations.GELU_TANH.call(self());
    }

    /** {@code log(1 + exp(this))} without overflow. */
    public Tensor softplus() {
        return Activations.SOFTPLUS.call(self());
    }

    /** This where positive, else {@code slope * this}. */
    public Tensor leakyRelu(Number slope) {
        return Activations.LEAKY_RELU.call(self(), slope);
    }

    public Tensor leakyRelu_(Number slope) {
        return into(Activations.LEAKY_RELU, slope);
    }

    /** This where positive, else {@code alpha * (exp(this) - 1)}. */
    public Tensor elu(Number alpha) {
        return Activations.ELU.call(self(), alpha);
    }

    /** {@code clamp(this, -1, 1)}. */
    public Tensor hardtanh() {
        return clamp(-1, 1);
    }

    public Tensor hardSigmoid() {
        return Activations.HARD_SIGMOID.call(self());
    }

    public Tensor hardSwish() {
        return Activations.HARD_SWISH.call(self());
    }

    /** {@code this * tanh(softplus(this))}. */
    public Tensor mish() {
        return Activations.MISH.call(self());
    }
}
