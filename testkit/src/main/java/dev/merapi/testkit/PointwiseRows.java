// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.testkit.Domain.uniform;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Comparisons;
import dev.merapi.ops.Elementary;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;

/** Pointwise ops, held against plain functions of doubles. */
final class PointwiseRows {
    private static final DType[] FLOATS = Kinds.floats();
    private static final DType[] INTS = Kinds.integers();
    private static final DType[] NUMBERS = Kinds.numbers();
    /** Values that functions stumble over. */
    private static final double[] SPECIAL = {
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        88,
        -88,
        1e-7,
        -1e-7,
        1e-40,
        3e4,
        -3e4,
        Double.POSITIVE_INFINITY,
        Double.NEGATIVE_INFINITY,
        Double.NaN
    };

    private PointwiseRows() {}

    private interface Function3 {
        double apply(double x, double y, double z);
    }

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(elementary());
        rows.addAll(activations());
        rows.addAll(binary());
        rows.addAll(withScalars());
        rows.addAll(comparisons());
        rows.addAll(bits());
        rows.addAll(normalizing());
        rows.addAll(cells());
        return rows;
    }

    // ---------------------------------------------------------------- how rows are made

    @SuppressWarnings("unchecked")
    private static OpSamples<PointwiseArgs.X, Tensor> unary(PointwiseOp op, DoubleUnaryOperator f, Domain domain) {
        return OpSamples.samples((Op<PointwiseArgs.X, Tensor>) op.op())
                .sample("[2, 3]", m -> new PointwiseArgs.X(m.draw(domain, 2, 3), List.of()))
                .valuesOnly("[]", m -> new PointwiseArgs.X(m.draw(domain), List.of()))
                .valuesOnly("[1031]", m -> new PointwiseArgs.X(m.draw(domain, 1031), List.of()))
                .references(a -> map(f, a.x()));
    }

    private static OpSamples<PointwiseArgs.X, Tensor> special(OpSamples<PointwiseArgs.X, Tensor> row) {
        return row.valuesOnly("special values", m -> new PointwiseArgs.X(m.of(SPECIAL, SPECIAL.length), List.of()));
    }

    @SuppressWarnings("unchecked")
    private static OpSamples<PointwiseArgs.X, Tensor> scalar(
            PointwiseOp op, DoubleBinaryOperator f, Domain domain, Number s) {
        return OpSamples.samples((Op<PointwiseArgs.X, Tensor>) op.op())
                .sample("[2, 3], " + s, m -> new PointwiseArgs.X(m.draw(domain, 2, 3), List.of(s)))
                .valuesOnly("[1031], " + s, m -> new PointwiseArgs.X(m.draw(domain, 1031), List.of(s)))
                .references(a -> map(x -> f.applyAsDouble(x, s.doubleValue()), a.x()));
    }

    @SuppressWarnings("unchecked")
    private static OpSamples<PointwiseArgs.XY, Tensor> binary(
            PointwiseOp op, DoubleBinaryOperator f, Domain left, Domain right, Number... scalars) {
        List<Number> s = List.of(scalars);
        return OpSamples.samples((Op<PointwiseArgs.XY, Tensor>) op.op())
                .sample("[2, 3] [2, 3]", m -> new PointwiseArgs.XY(m.draw(left, 2, 3), m.draw(right, 2, 3), s))
                .sample("[2, 1, 3] [4, 1]", m -> new PointwiseArgs.XY(m.draw(left, 2, 1, 3), m.draw(right, 4, 1), s))
                .valuesOnly("[5] []", m -> new PointwiseArgs.XY(m.draw(left, 5), m.draw(right), s))
                .valuesOnly("[3, 347]", m -> new PointwiseArgs.XY(m.draw(left, 3, 347), m.draw(right, 3, 347), s))
                .references(a -> map((x, y, z) -> f.applyAsDouble(x, y), a.x(), a.y(), null))
                .error(
                        m -> new PointwiseArgs.XY(m.draw(left, 2, 3), m.draw(right, 2, 4), s),
                        ShapeException.class,
                        "shapes [2, 3] and [2, 4] do not broadcast");
    }

    private static OpSamples<PointwiseArgs.XYZ, Tensor> ternary(
            PointwiseOp op, Function3 f, Domain x, Domain y, Domain z, Number... scalars) {
        return ternary(op.op().name(), f, x, y, z, scalars);
    }

    @SuppressWarnings("unchecked")
    private static OpSamples<PointwiseArgs.XYZ, Tensor> ternary(
            String op, Function3 f, Domain x, Domain y, Domain z, Number... scalars) {
        List<Number> s = List.of(scalars);
        return OpSamples.samples((Op<PointwiseArgs.XYZ, Tensor>) Ops.named(op))
                .sample("[2, 3]", m -> new PointwiseArgs.XYZ(m.draw(x, 2, 3), m.draw(y, 2, 3), m.draw(z, 2, 3), s))
                .sample("broadcast", m -> new PointwiseArgs.XYZ(m.draw(x, 2, 1), m.draw(y, 1, 3), m.draw(z), s))
                .valuesOnly("[517]", m -> new PointwiseArgs.XYZ(m.draw(x, 517), m.draw(y, 517), m.draw(z, 517), s))
                .references(a -> map(f, a.x(), a.y(), a.z()));
    }

    private static Grid map(DoubleUnaryOperator f, Tensor x) {
        return Grid.of(
                Arrays.stream(x.toDoubleArray()).map(f).toArray(), x.shape().toArray());
    }

    private static Grid map(Function3 f, Tensor x, Tensor y, @org.jspecify.annotations.Nullable Tensor z) {
        Grid gx = Grid.of(x);
        Grid gy = Grid.of(y);
        Grid gz = z == null ? Grid.of(new double[1]) : Grid.of(z);
        return Grid.filled(
                i -> f.apply(gx.broadcastAt(i), gy.broadcastAt(i), gz.broadcastAt(i)),
                Grid.broadcast(gx.shape(), gy.shape(), gz.shape()));
    }

    // ---------------------------------------------------------------- functions of one tensor

    private static List<OpSamples<?, ?>> elementary() {
        Domain any = uniform(-4, 4);
        Domain positive = uniform(0.1, 5);
        Domain unit = uniform(-0.9, 0.9);
        return List.of(
                special(unary(Elementary.SQRT, Math::sqrt, positive)),
                special(unary(Elementary.RSQRT, x -> 1 / Math.sqrt(x), positive)),
                special(unary(Elementary.EXP, Math::exp, any)),
                special(unary(Elementary.EXPM1, Math::expm1, any)),
                special(unary(Elementary.EXP2, x -> Math.pow(2, x), any)),
                special(unary(Elementary.LOG, Math::log, positive)),
                special(unary(Elementary.LOG1P, Math::log1p, positive)),
                special(unary(Elementary.LOG2, SpecialFunctions::log2, positive)),
                special(unary(Elementary.LOG10, Math::log10, positive)),
                special(unary(Elementary.SIN, Math::sin, any)),
                special(unary(Elementary.COS, Math::cos, any)),
                unary(Elementary.TAN, Math::tan, uniform(-1.4, 1.4)),
                special(unary(Elementary.ASIN, Math::asin, unit)),
                special(unary(Elementary.ACOS, Math::acos, unit)),
                special(unary(Elementary.ATAN, Math::atan, any)),
                special(unary(Elementary.SINH, Math::sinh, any)),
                special(unary(Elementary.COSH, Math::cosh, any)),
                special(unary(Elementary.TANH, Math::tanh, any)),
                unary(Elementary.ASINH, SpecialFunctions::asinh, any),
                unary(Elementary.ACOSH, SpecialFunctions::acosh, uniform(1.2, 6)),
                unary(Elementary.ATANH, SpecialFunctions::atanh, unit),
                special(unary(Elementary.ERF, SpecialFunctions::erf, any)),
                unary(Elementary.ERFC, SpecialFunctions::erfc, any).ulps(16),
                special(unary(Elementary.FLOOR, Math::floor, any)),
                special(unary(Elementary.CEIL, Math::ceil, any)),
                special(unary(Elementary.ROUND, Math::rint, any)),
                special(unary(Elementary.TRUNC, x -> x < 0 ? Math.ceil(x) : Math.floor(x), any)),
                special(unary(Arithmetic.NEG, x -> -x, any)).dtypes(FLOATS),
                special(unary(Arithmetic.ABS, Math::abs, any.awayFrom(0))),
                special(unary(Arithmetic.SIGN, Math::signum, any.awayFrom(0))),
                special(unary(Elementary.FRAC, x -> x - (x < 0 ? Math.ceil(x) : Math.floor(x)), any)),
                special(unary(Elementary.DEG2RAD, x -> x * (Math.PI / 180), any)),
                special(unary(Elementary.RAD2DEG, x -> x * (180 / Math.PI), any)),
                unary(Elementary.LOGIT, x -> Math.log(x / (1 - x)), uniform(0.05, 0.45))
                        .ulps(8),
                // Also where the sine is 0, and beyond where a factor of π would have rounded all away.
                special(unary(Elementary.SINC, PointwiseRows::sinc, any)).scale(a -> List.of(map(x -> 1, a.x()))),
                unary(Arithmetic.RECIPROCAL, x -> 1 / x, positive),
                special(unary(Arithmetic.SQUARE, x -> x * x, any)));
    }

    private static List<OpSamples<?, ?>> activations() {
        Domain any = uniform(-4, 4);
        Domain smooth = any.awayFrom(0);
        Domain threes = any.awayFrom(-3, 3);
        return List.of(
                special(unary(Activations.RELU, x -> Double.isNaN(x) ? x : Math.max(x, 0), smooth)),
                special(unary(Activations.SIGMOID, x -> 1 / (1 + Math.exp(-x)), any))
                        .ulps(8),
                special(unary(Activations.LOG_SIGMOID, x -> -SpecialFunctions.softplus(-x), any))
                        .ulps(8),
                unary(Activations.SILU, x -> x / (1 + Math.exp(-x)), any).ulps(8),
                unary(Activations.GELU, x -> 0.5 * x * SpecialFunctions.erfc(-x / Math.sqrt(2)), any)
                        .scale(a -> List.of(map(Math::abs, a.x()))),
                unary(
                                Activations.GELU_TANH,
                                x -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
                                any)
                        .scale(a -> List.of(map(Math::abs, a.x()))),
                special(unary(Activations.SOFTPLUS, SpecialFunctions::softplus, any))
                        .ulps(8),
                scalar(Activations.LEAKY_RELU, (x, s) -> x > 0 ? x : s * x, smooth, 0.1),
                scalar(Activations.ELU, (x, s) -> x > 0 ? x : s * Math.expm1(x), smooth, 1.5),
                unary(Activations.MISH, x -> x * Math.tanh(SpecialFunctions.softplus(x)), any)
                        .ulps(16),
                unary(Activations.HARD_SIGMOID, x -> Math.min(Math.max(x + 3, 0), 6) / 6, threes)
                        .scale(a -> List.of(map(x -> 1 + Math.abs(x), a.x()))),
                unary(Activations.HARD_SWISH, x -> x * Math.min(Math.max(x + 3, 0), 6) / 6, threes)
                        .scale(a -> List.of(map(x -> Math.abs(x) * (1 + Math.abs(x)), a.x()))),
                special(unary(Activations.SELU, PointwiseRows::selu, smooth)),
                scalar(Activations.CELU, (x, s) -> x > 0 ? x : s * Math.expm1(x / s), smooth, 1.5),
                special(unary(Activations.SOFTSIGN, x -> x / (1 + Math.abs(x)), smooth)),
                special(unary(Activations.TANHSHRINK, x -> x - Math.tanh(x), any))
                        .scale(a -> List.of(map(Math::abs, a.x()))),
                scalar(Activations.HARDSHRINK, (x, s) -> Math.abs(x) <= s ? 0 : x, any.awayFrom(-0.5, 0.5), 0.5),
                scalar(
                        Activations.SOFTSHRINK,
                        (x, s) -> x > s ? x - s : x < -s ? x + s : 0,
                        any.awayFrom(-0.5, 0.5),
                        0.5),
                scalars(Activations.THRESHOLD, x -> x > 0.5 ? x : -2, any.awayFrom(0.5), 0.5, -2.0),
                scalars(Activations.HARDTANH, x -> Math.min(Math.max(x, -1), 2), any.awayFrom(-1, 2), -1.0, 2.0),
                scalars(
                        Activations.SOFTPLUS_SCALED,
                        x -> 2 * x > 3 ? x : SpecialFunctions.softplus(2 * x) / 2,
                        any.awayFrom(1.5),
                        2.0,
                        3.0));
    }

    private static double selu(double x) {
        return 1.0507009873554804934193349852946 * (x > 0 ? x : 1.6732632423543772848170429916717 * Math.expm1(x));
    }

    /** One tensor and several scalars, which the function knows; special values too. */
    @SuppressWarnings("unchecked")
    private static OpSamples<PointwiseArgs.X, Tensor> scalars(
            PointwiseOp op, DoubleUnaryOperator f, Domain domain, Number... scalars) {
        List<Number> s = List.of(scalars);
        double[] odd = {0.0, -0.0, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 3e4, -3e4};
        return OpSamples.samples((Op<PointwiseArgs.X, Tensor>) op.op())
                .sample("[2, 3]", m -> new PointwiseArgs.X(m.draw(domain, 2, 3), s))
                .valuesOnly("[1031]", m -> new PointwiseArgs.X(m.draw(domain, 1031), s))
                .valuesOnly("[]", m -> new PointwiseArgs.X(m.draw(domain), s))
                .valuesOnly("special values", m -> new PointwiseArgs.X(m.of(odd, odd.length), s))
                .references(a ->
                        map(x -> Double.isNaN(x) && op != Arithmetic.NAN_TO_NUM ? x : f.applyAsDouble(x), a.x()));
    }

    private static double sinc(double x) {
        return x == 0 ? 1 : Math.sin(Math.PI * (x - 2 * Math.rint(x / 2))) / (Math.PI * x);
    }

    // ---------------------------------------------------------------- of several

    private static List<OpSamples<?, ?>> binary() {
        Domain any = uniform(-4, 4);
        Domain positive = uniform(0.3, 3);
        Domain low = uniform(-4, -0.2);
        Domain high = uniform(0.2, 4);
        DoubleBinaryOperator remainder = (x, y) -> x - y * Math.floor(x / y);
        return List.of(
                binary(Arithmetic.ADD, Double::sum, any, any),
                binary(Arithmetic.SUB, (x, y) -> x - y, any, any),
                binary(Arithmetic.MUL, (x, y) -> x * y, any, any),
                binary(Arithmetic.DIV, (x, y) -> x / y, any, positive),
                binary(Arithmetic.FLOOR_DIVIDE, (x, y) -> Math.floor(x / y), eighths(), eighthsAbove(1))
                        .skip("gradients", "the samples stand on the steps")
                        .skip("second derivatives", "the samples stand on the steps"),
                binary(Arithmetic.TRUNC_DIVIDE, (x, y) -> trunc(x / y), eighths(), eighthsAbove(1))
                        .skip("gradients", "the samples stand on the steps")
                        .skip("second derivatives", "the samples stand on the steps"),
                binary(Arithmetic.HYPOT, Math::hypot, any, any),
                binary(Arithmetic.HEAVISIDE, (x, y) -> x == 0 ? y : x > 0 ? 1 : 0, any.awayFrom(0), any),
                binary(Arithmetic.XLOGY, (x, y) -> x * Math.log(y), any, positive)
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x), a.x(), a.y(), null))),
                binary(Arithmetic.LOGADDEXP, (x, y) -> Math.log(Math.exp(x) + Math.exp(y)), any, any)
                        .scale(a -> List.of(map((x, y, z) -> 1 + Math.abs(x) + Math.abs(y), a.x(), a.y(), null))),
                binary(
                                Arithmetic.LOGADDEXP2,
                                (x, y) -> Math.log(Math.pow(2, x) + Math.pow(2, y)) / Math.log(2),
                                any,
                                any)
                        .scale(a -> List.of(map((x, y, z) -> 1 + Math.abs(x) + Math.abs(y), a.x(), a.y(), null))),
                binary(Activations.PRELU, (x, y) -> x > 0 ? x : x * y, any.awayFrom(0), any),
                binary(Activations.GATE, (x, y) -> x / (1 + Math.exp(-y)), any, any)
                        .ulps(8),
                binary(Arithmetic.REMAINDER, remainder, eighths(), eighthsAbove(1))
                        .skip("gradients", "the samples stand on the steps")
                        .skip("second derivatives", "the samples stand on the steps"),
                binary(Arithmetic.FMOD, (x, y) -> x % y, eighths(), eighthsAbove(1))
                        .skip("gradients", "the samples stand on the steps")
                        .skip("second derivatives", "the samples stand on the steps"),
                binary(Arithmetic.POW, Math::pow, positive, uniform(-2, 2)).ulps(16),
                binary(Arithmetic.MINIMUM, Math::min, low, high),
                binary(Arithmetic.MAXIMUM, Math::max, low, high),
                binary(Arithmetic.ATAN2, Math::atan2, any, positive),
                binary(Arithmetic.COPYSIGN, Math::copySign, any.awayFrom(0), any.awayFrom(0)),
                binary(Arithmetic.ADD_SCALED, (x, y) -> x + 0.5 * y, any, any, 0.5)
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x) + Math.abs(y), a.x(), a.y(), null))),
                binary(Arithmetic.LERP_SCALAR, (x, y) -> x + 0.25 * (y - x), any, any, 0.25)
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x) + Math.abs(y), a.x(), a.y(), null))),
                ternary(Arithmetic.FMA, (x, y, z) -> x * y + z, any, any, any)
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x * y) + Math.abs(z), a.x(), a.y(), a.z()))),
                ternary(Arithmetic.ADDCMUL, (x, y, z) -> x + 0.5 * y * z, any, any, any, 0.5)
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x) + Math.abs(y * z), a.x(), a.y(), a.z()))),
                ternary(Arithmetic.ADDCDIV, (x, y, z) -> x + 0.5 * (y / z), any, any, positive, 0.5)
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x) + Math.abs(y / z), a.x(), a.y(), a.z()))),
                ternary(Arithmetic.LERP, (x, y, z) -> x + z * (y - x), any, any, uniform(0, 0.45))
                        .scale(a -> List.of(map((x, y, z) -> Math.abs(x) + Math.abs(y), a.x(), a.y(), a.z()))),
                ternary(
                        Arithmetic.CLAMP_TENSOR,
                        (x, y, z) -> Math.min(Math.max(x, y), z),
                        any.awayFrom(-1, 1),
                        uniform(-1.01, -0.99),
                        uniform(0.99, 1.01)));
    }

    private static double trunc(double x) {
        return x < 0 ? Math.ceil(x) : Math.floor(x);
    }

    /** Multiples of an eighth: exact in all dtypes, so that floors are the same. */
    private static Domain eighths() {
        return random -> random.nextInt(-40, 40) / 8.0;
    }

    /** Those that no multiple of 1.25 is near. */
    private static Domain between() {
        return eighths().awayFrom(-5, -3.75, -2.5, -1.25, 0, 1.25, 2.5, 3.75, 5);
    }

    private static Domain eighthsAbove(int low) {
        return random -> low + random.nextInt(0, 16) / 8.0;
    }

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> withScalars() {
        Domain any = uniform(-4, 4);
        Domain positive = uniform(0.3, 3);
        return List.of(
                scalar(Arithmetic.ADD_SCALAR, Double::sum, any, 1.5),
                scalar(Arithmetic.SUB_SCALAR, (x, s) -> x - s, any, 2),
                scalar(Arithmetic.RSUB_SCALAR, (x, s) -> s - x, any, 2.5),
                scalar(Arithmetic.MUL_SCALAR, (x, s) -> x * s, any, -3),
                scalar(Arithmetic.DIV_SCALAR, (x, s) -> x / s, any, 8.0),
                scalar(Arithmetic.RDIV_SCALAR, (x, s) -> s / x, positive, 2.0),
                scalar(Arithmetic.FLOOR_DIVIDE_SCALAR, (x, s) -> Math.floor(x / s), between(), 1.25),
                scalar(Arithmetic.TRUNC_DIVIDE_SCALAR, (x, s) -> trunc(x / s), between(), 1.25),
                scalars(
                        Arithmetic.NAN_TO_NUM,
                        x -> Double.isNaN(x) ? 0.5 : Double.isInfinite(x) ? (x > 0 ? 2 : -3) : x,
                        any,
                        0.5,
                        2.0,
                        -3.0),
                scalar(Arithmetic.REMAINDER_SCALAR, (x, s) -> x - s * Math.floor(x / s), between(), 1.25),
                scalar(Arithmetic.FMOD_SCALAR, (x, s) -> x % s, between(), 1.25),
                scalar(Arithmetic.POW_SCALAR, Math::pow, positive, 2.5).ulps(16),
                scalar(Arithmetic.RPOW_SCALAR, (x, s) -> Math.pow(s, x), any, 2.5)
                        .ulps(16),
                scalar(Arithmetic.MINIMUM_SCALAR, Math::min, any.awayFrom(0.5), 0.5),
                scalar(Arithmetic.MAXIMUM_SCALAR, Math::max, any.awayFrom(0.5), 0.5),
                scalar(Arithmetic.CLAMP_MIN, Math::max, any.awayFrom(0.5), 0.5),
                scalar(Arithmetic.CLAMP_MAX, Math::min, any.awayFrom(0.5), 0.5),
                scalar(Arithmetic.FILL, (x, s) -> s, any, 0.75),
                scalar(Arithmetic.FILL_BOOL, (x, s) -> s != 0 ? 1 : 0, any, 2),
                OpSamples.samples((Op<PointwiseArgs.X, Tensor>) Arithmetic.CLAMP.op())
                        .sample(
                                "[2, 3]",
                                m -> new PointwiseArgs.X(m.draw(any.awayFrom(-1, 1.5), 2, 3), List.of(-1, 1.5)))
                        .references(a -> map(x -> Math.min(Math.max(x, -1), 1.5), a.x())));
    }

    // ---------------------------------------------------------------- comparisons and logic

    private static DoubleBinaryOperator truth(java.util.function.BiPredicate<Double, Double> p) {
        return (x, y) -> p.test(x, y) ? 1 : 0;
    }

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> comparisons() {
        Domain steps = random -> random.nextInt(0, 4);
        List<OpSamples<?, ?>> rows = new ArrayList<>(List.of(
                binary(Comparisons.EQ, truth((x, y) -> x.doubleValue() == y), steps, steps)
                        .dtypes(NUMBERS),
                binary(Comparisons.NE, truth((x, y) -> x.doubleValue() != y), steps, steps)
                        .dtypes(NUMBERS),
                binary(Comparisons.LT, truth((x, y) -> x < y), steps, steps).dtypes(NUMBERS),
                binary(Comparisons.LE, truth((x, y) -> x <= y), steps, steps).dtypes(NUMBERS),
                binary(Comparisons.GT, truth((x, y) -> x > y), steps, steps).dtypes(NUMBERS),
                binary(Comparisons.GE, truth((x, y) -> x >= y), steps, steps).dtypes(NUMBERS),
                scalar(Comparisons.EQ_SCALAR, truth((x, y) -> x.doubleValue() == y), steps, 2)
                        .dtypes(NUMBERS),
                scalar(Comparisons.NE_SCALAR, truth((x, y) -> x.doubleValue() != y), steps, 2)
                        .dtypes(NUMBERS),
                scalar(Comparisons.LT_SCALAR, truth((x, y) -> x < y), steps, 2).dtypes(NUMBERS),
                scalar(Comparisons.LE_SCALAR, truth((x, y) -> x <= y), steps, 2).dtypes(NUMBERS),
                scalar(Comparisons.GT_SCALAR, truth((x, y) -> x > y), steps, 2).dtypes(NUMBERS),
                scalar(Comparisons.GE_SCALAR, truth((x, y) -> x >= y), steps, 2).dtypes(NUMBERS),
                binary(
                        Comparisons.IS_CLOSE,
                        truth((x, y) -> Math.abs(x - y) <= 0.5 + 0.25 * Math.abs(y)),
                        steps,
                        steps,
                        0.25,
                        0.5),
                binary(Comparisons.LOGICAL_AND, truth((x, y) -> x != 0 && y != 0), steps, steps)
                        .dtypes(NUMBERS),
                binary(Comparisons.LOGICAL_OR, truth((x, y) -> x != 0 || y != 0), steps, steps)
                        .dtypes(NUMBERS),
                binary(Comparisons.LOGICAL_XOR, truth((x, y) -> x != 0 ^ y != 0), steps, steps)
                        .dtypes(NUMBERS),
                unary(Comparisons.LOGICAL_NOT, x -> x == 0 ? 1 : 0, steps).dtypes(NUMBERS),
                special(unary(Comparisons.IS_NAN, x -> Double.isNaN(x) ? 1 : 0, steps)),
                special(unary(Comparisons.IS_INF, x -> Double.isInfinite(x) ? 1 : 0, steps)),
                special(unary(Comparisons.IS_FINITE, x -> Double.isFinite(x) ? 1 : 0, steps))));
        Domain any = uniform(-4, 4);
        rows.add(OpSamples.samples((Op<PointwiseArgs.XYZ, Tensor>) Comparisons.WHERE.op())
                .sample(
                        "[2, 3]",
                        m -> new PointwiseArgs.XYZ(m.booleans(2, 3), m.draw(any, 2, 3), m.draw(any, 2, 3), List.of()))
                .sample(
                        "broadcast",
                        m -> new PointwiseArgs.XYZ(m.booleans(3), m.draw(any, 2, 1), m.draw(any), List.of()))
                .references(a -> map((c, x, y) -> c != 0 ? x : y, a.x(), a.y(), a.z())));
        rows.add(OpSamples.samples((Op<PointwiseArgs.XY, Tensor>) Comparisons.WHERE_SCALAR.op())
                .sample("[2, 3]", m -> new PointwiseArgs.XY(m.booleans(2, 3), m.draw(any, 2, 3), List.of(0.5)))
                .references(a -> map((c, x, y) -> c != 0 ? x : 0.5, a.x(), a.y(), null)));
        rows.add(OpSamples.samples((Op<PointwiseArgs.XY, Tensor>) Comparisons.MASKED_FILL.op())
                .sample("[2, 3]", m -> new PointwiseArgs.XY(m.draw(any, 2, 3), m.booleans(3), List.of(-8)))
                .references(a -> map((x, c, y) -> c != 0 ? -8 : x, a.x(), a.y(), null)));
        return rows;
    }

    // ---------------------------------------------------------------- the pointwise halves of batch norm

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> normalizing() {
        Domain any = uniform(-2, 2);
        return List.of(
                ternary(
                        "merapi::batch_norm_normalize",
                        (x, mean, variance) -> (x - mean) / Math.sqrt(variance + 0.5),
                        any,
                        any,
                        uniform(0.5, 2),
                        0.5),
                OpSamples.samples((Op<PointwiseArgs.Many, Tensor>) Ops.named("merapi::batch_norm_affine"))
                        .sample(
                                "[2, 3]",
                                m -> new PointwiseArgs.Many(
                                        List.of(
                                                m.draw(any, 2, 3),
                                                m.draw(any, 3),
                                                m.uniform(0.5, 2, 3),
                                                m.uniform(0.5, 2, 3),
                                                m.draw(any, 3)),
                                        List.of(0.5)))
                        .references(a -> {
                            List<Grid> in = a.inputs().stream().map(Grid::of).toList();
                            return Grid.filled(
                                    i -> (in.get(0).at(i) - in.get(1).at(i[1]))
                                                    / Math.sqrt(in.get(2).at(i[1]) + 0.5)
                                                    * in.get(3).at(i[1])
                                            + in.get(4).at(i[1]),
                                    2,
                                    3);
                        })
                        .scale(a -> List.of(Grid.filled(i -> 8, 2, 3))));
    }

    // ---------------------------------------------------------------- the steps of recurrent layers

    private static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> cells() {
        Domain any = uniform(-2, 2);
        return List.of(
                OpSamples.samples((Op<PointwiseArgs.Many, List<Tensor>>) Ops.named("merapi::lstm_cell"))
                        .sample("[2, 3]", m -> new PointwiseArgs.Many(drawn(m, any, 5, 2, 3), List.of()))
                        .valuesOnly("[7, 211]", m -> new PointwiseArgs.Many(drawn(m, any, 5, 7, 211), List.of()))
                        .reference(a -> {
                            List<Grid> in = a.inputs().stream().map(Grid::of).toList();
                            Grid c = Grid.filled(
                                    i -> sigmoid(in.get(1).at(i)) * in.get(4).at(i)
                                            + sigmoid(in.get(0).at(i))
                                                    * Math.tanh(in.get(2).at(i)),
                                    in.get(0).shape());
                            Grid h = Grid.filled(
                                    i -> sigmoid(in.get(3).at(i)) * Math.tanh(c.at(i)),
                                    in.get(0).shape());
                            return List.of(h, c);
                        })
                        .scale(
                                a -> { // of the two terms of c, which may cancel
                                    Grid terms = Grid.filled(
                                            i -> 3, Grid.of(a.inputs().get(0)).shape());
                                    return List.of(terms, terms);
                                }),
                OpSamples.samples((Op<PointwiseArgs.Many, Tensor>) Ops.named("merapi::gru_cell"))
                        .sample("[2, 3]", m -> new PointwiseArgs.Many(drawn(m, any, 7, 2, 3), List.of()))
                        .references(a -> {
                            List<Grid> in = a.inputs().stream().map(Grid::of).toList();
                            return Grid.filled(
                                    i -> {
                                        double r = sigmoid(
                                                in.get(0).at(i) + in.get(3).at(i));
                                        double z = sigmoid(
                                                in.get(1).at(i) + in.get(4).at(i));
                                        double n = Math.tanh(
                                                in.get(2).at(i) + r * in.get(5).at(i));
                                        return (1 - z) * n + z * in.get(6).at(i);
                                    },
                                    2,
                                    3);
                        })
                        .scale(a -> List.of(Grid.filled(i -> 3, 2, 3))));
    }

    private static List<Tensor> drawn(Maker m, Domain domain, int count, long... shape) {
        List<Tensor> operands = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            operands.add(m.draw(domain, shape));
        }
        return operands;
    }

    // ---------------------------------------------------------------- bits

    private interface Bits {
        long apply(long x, long y);
    }

    private static List<OpSamples<?, ?>> bits() {
        Domain bytes = random -> random.nextInt(0, 128);
        Domain few = random -> random.nextInt(0, 4);
        Function<Bits, DoubleBinaryOperator> of = f -> (x, y) -> f.apply((long) x, (long) y);
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        for (OpSamples<?, ?> row : List.<OpSamples<?, ?>>of(
                binary(Comparisons.BIT_AND, of.apply((x, y) -> x & y), bytes, bytes),
                binary(Comparisons.BIT_OR, of.apply((x, y) -> x | y), bytes, bytes),
                binary(Comparisons.BIT_XOR, of.apply((x, y) -> x ^ y), bytes, bytes),
                binary(Comparisons.SHIFT_LEFT, of.apply((x, y) -> x << y), few, few),
                binary(Comparisons.SHIFT_RIGHT, of.apply((x, y) -> x >> y), bytes, few),
                scalar(Comparisons.BIT_AND_SCALAR, of.apply((x, y) -> x & y), bytes, 12),
                scalar(Comparisons.BIT_OR_SCALAR, of.apply((x, y) -> x | y), bytes, 12),
                scalar(Comparisons.BIT_XOR_SCALAR, of.apply((x, y) -> x ^ y), bytes, 12),
                scalar(Comparisons.SHIFT_LEFT_SCALAR, of.apply((x, y) -> x << y), few, 2),
                scalar(Comparisons.SHIFT_RIGHT_SCALAR, of.apply((x, y) -> x >> y), bytes, 2))) {
            rows.add(row.dtypes(INTS));
        }
        rows.add(unary(Comparisons.BIT_NOT, x -> ~(long) x, bytes).dtypes(DType.INT64, DType.INT32));
        return rows;
    }
}
