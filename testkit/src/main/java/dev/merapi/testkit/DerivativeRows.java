// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.DoubleUnaryOperator;

/**
 * The derivatives of all pointwise ops of one tensor, in doubles and in forms that keep their digits, written without the
 * engine. Where a function is not defined they are NaN; at infinity they are limits.
 */
final class DerivativeRows {
    private DerivativeRows() {}

    /** Derivative by the tensor, for these scalars. */
    record Row(List<Number> scalars, DoubleUnaryOperator slope) {}

    /** Op name to derivatives. */
    static Map<String, List<Row>> all() {
        Map<String, List<Row>> rows = new TreeMap<>();
        elementary(rows);
        trigonometric(rows);
        activations(rows);
        scalars(rows);
        return rows;
    }

    private static void put(Map<String, List<Row>> rows, String op, DoubleUnaryOperator slope) {
        rows.put("merapi::" + op, List.of(new Row(List.of(), slope)));
    }

    private static void put(Map<String, List<Row>> rows, String op, Row... all) {
        rows.put("merapi::" + op, List.of(all));
    }

    private static DoubleUnaryOperator within(double low, double high, DoubleUnaryOperator slope) {
        return x -> x >= low && x <= high ? slope.applyAsDouble(x) : Double.NaN;
    }

    private static void elementary(Map<String, List<Row>> rows) {
        double infinity = Double.POSITIVE_INFINITY;
        put(rows, "neg", x -> -1);
        put(rows, "abs", x -> x == 0 ? 0 : Math.signum(x));
        put(rows, "square", x -> 2 * x);
        put(rows, "reciprocal", x -> -1 / (x * x));
        put(rows, "sqrt", within(0, infinity, x -> 0.5 / Math.sqrt(x)));
        put(rows, "sqrt_or_zero", within(0, infinity, x -> x == 0 ? 0 : 0.5 / Math.sqrt(x)));
        put(rows, "rsqrt", within(0, infinity, x -> 1 / x < 0 ? Double.NaN : -0.5 / (x * Math.sqrt(x))));
        put(rows, "exp", Math::exp);
        put(rows, "expm1", Math::exp);
        put(rows, "exp2", x -> Math.pow(2, x) * Math.log(2));
        put(rows, "log", within(0, infinity, x -> 1 / x));
        put(rows, "log1p", within(-1, infinity, x -> 1 / (1 + x)));
        put(rows, "log2", within(0, infinity, x -> 1 / (x * Math.log(2))));
        put(rows, "log10", within(0, infinity, x -> 1 / (x * Math.log(10))));
        put(rows, "logit", within(0, 1, x -> 1 / (x * (1 - x))));
        put(rows, "frac", x -> 1);
        put(rows, "deg2rad", x -> Math.PI / 180);
        put(rows, "rad2deg", x -> 180 / Math.PI);
        put(rows, "sinc", DerivativeRows::sinc);
        for (String step : List.of("floor", "ceil", "round", "trunc", "sign")) {
            put(rows, step, x -> 0);
        }
    }

    private static void trigonometric(Map<String, List<Row>> rows) {
        double infinity = Double.POSITIVE_INFINITY;
        put(rows, "sin", Math::cos);
        put(rows, "cos", x -> -Math.sin(x));
        put(rows, "tan", x -> 1 / (Math.cos(x) * Math.cos(x)));
        put(rows, "asin", within(-1, 1, x -> 1 / Math.sqrt((1 - x) * (1 + x))));
        put(rows, "acos", within(-1, 1, x -> -1 / Math.sqrt((1 - x) * (1 + x))));
        put(rows, "atan", x -> 1 / (1 + x * x));
        put(rows, "sinh", Math::cosh);
        put(rows, "cosh", Math::sinh);
        put(rows, "tanh", x -> 4 * bell(2 * x));
        put(rows, "asinh", x -> 1 / Math.hypot(1, x));
        put(rows, "acosh", within(1, infinity, x -> 1 / (Math.sqrt(x - 1) * Math.sqrt(x + 1))));
        put(rows, "atanh", within(-1, 1, x -> 1 / ((1 - x) * (1 + x))));
        put(rows, "erf", x -> 2 / Math.sqrt(Math.PI) * Math.exp(-x * x));
        put(rows, "erfc", x -> -2 / Math.sqrt(Math.PI) * Math.exp(-x * x));
    }

    private static void activations(Map<String, List<Row>> rows) {
        put(rows, "relu", x -> x > 0 ? 1 : 0);
        put(rows, "sigmoid", DerivativeRows::bell);
        put(rows, "log_sigmoid", x -> sigmoid(-x));
        put(rows, "softplus", DerivativeRows::sigmoid);
        put(rows, "silu", x -> Double.isInfinite(x) ? step(x) : sigmoid(x) + x * bell(x));
        put(rows, "gelu", x -> Double.isInfinite(x) ? step(x) : normal(x) + x * density(x));
        put(rows, "gelu_tanh", DerivativeRows::geluTanh);
        put(rows, "mish", DerivativeRows::mish);
        put(rows, "hard_sigmoid", x -> x > -3 && x < 3 ? 1 / 6.0 : 0);
        put(rows, "hard_swish", x -> x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5);
        double scale = 1.0507009873554804934193349852946;
        put(rows, "selu", x -> x > 0 ? scale : scale * 1.6732632423543772848170429916717 * Math.exp(x));
        put(rows, "celu", new Row(List.of(0.75), x -> x > 0 ? 1 : Math.exp(x / 0.75)));
        put(rows, "softsign", x -> 1 / ((1 + Math.abs(x)) * (1 + Math.abs(x))));
        put(rows, "tanhshrink", x -> Math.tanh(x) * Math.tanh(x));
        put(rows, "hardshrink", new Row(List.of(0.5), x -> Math.abs(x) <= 0.5 ? 0 : 1));
        put(rows, "softshrink", new Row(List.of(0.5), x -> Math.abs(x) <= 0.5 ? 0 : 1));
        put(rows, "threshold", new Row(List.of(0.5, -2.0), x -> x > 0.5 ? 1 : 0));
        put(rows, "hardtanh", new Row(List.of(-1.0, 2.0), x -> x > -1 && x < 2 ? 1 : 0));
        put(rows, "softplus_scaled", new Row(List.of(2.0, 3.0), x -> 2 * x > 3 ? 1 : sigmoid(2 * x)));
        put(rows, "leaky_relu", new Row(List.of(0.125), x -> x > 0 ? 1 : 0.125));
        put(rows, "elu", new Row(List.of(1.0), x -> x > 0 ? 1 : Math.exp(x)), new Row(List.of(0.75), x -> {
            return x > 0 ? 1 : 0.75 * Math.exp(x);
        }));
    }

    private static void scalars(Map<String, List<Row>> rows) {
        for (String op : List.of("add_scalar", "sub_scalar", "fmod_scalar", "remainder_scalar")) {
            put(rows, op, new Row(List.of(2.5), x -> Double.isInfinite(x) && op.endsWith("r_scalar") ? Double.NaN : 1));
        }
        put(rows, "floor_divide_scalar", new Row(List.of(2.5), x -> 0));
        put(rows, "trunc_divide_scalar", new Row(List.of(2.5), x -> 0));
        put(rows, "nan_to_num", new Row(List.of(0.5, 2.0, -3.0), x -> Double.isInfinite(x) ? 0 : 1));
        put(rows, "rsub_scalar", new Row(List.of(2.5), x -> -1));
        put(rows, "mul_scalar", new Row(List.of(-2.5), x -> -2.5));
        put(rows, "div_scalar", new Row(List.of(-2.5), x -> -0.4));
        put(rows, "rdiv_scalar", new Row(List.of(2.5), x -> -2.5 / (x * x)));
        put(rows, "minimum_scalar", new Row(List.of(0.5), x -> x < 0.5 ? 1 : x == 0.5 ? 0.5 : 0));
        put(rows, "maximum_scalar", new Row(List.of(0.5), x -> x > 0.5 ? 1 : x == 0.5 ? 0.5 : 0));
        put(rows, "clamp", new Row(List.of(-0.5, 2.0), x -> x >= -0.5 && x <= 2 ? 1 : 0));
        put(rows, "clamp_min", new Row(List.of(-0.5), x -> x >= -0.5 ? 1 : 0));
        put(rows, "clamp_max", new Row(List.of(2.0), x -> x <= 2 ? 1 : 0));
        put(rows, "pow_scalar", power(2.5), power(0.5), power(-1.5), power(1), power(0), power(3), power(-2), power(2));
        put(rows, "rpow_scalar", exponential(2.5), exponential(0.25), exponential(1));
    }

    private static Row power(double b) {
        return new Row(
                List.of(b), x -> b == 0 ? 0 : Double.isNaN(Math.pow(x, b)) ? Double.NaN : b * Math.pow(x, b - 1));
    }

    private static Row exponential(double base) {
        return new Row(List.of(base), x -> base == 1 ? 0 : Math.pow(base, x) * Math.log(base));
    }

    // ---------------------------------------------------------------- functions

    /** By the series near 0; else with the angle reduced before π rounds it. */
    private static double sinc(double x) {
        if (Double.isInfinite(x)) {
            return Double.NaN;
        }
        if (Math.abs(x) < 1e-2) {
            double y = Math.PI * x;
            return Math.PI * y * (-1.0 / 3 + y * y * (1.0 / 30 - y * y / 840));
        }
        double angle = Math.PI * (x - 2 * Math.rint(x / 2));
        return Math.cos(angle) / x - Math.sin(angle) / (Math.PI * x * x);
    }

    private static double step(double x) {
        return x > 0 ? 1 : 0;
    }

    private static double sigmoid(double x) {
        double e = Math.exp(-Math.abs(x));
        return x >= 0 ? 1 / (1 + e) : e / (1 + e);
    }

    /** σ(x)·σ(−x) */
    private static double bell(double x) {
        double e = Math.exp(-Math.abs(x));
        return e / ((1 + e) * (1 + e));
    }

    private static double normal(double x) {
        return 0.5 * SpecialFunctions.erfc(-x / Math.sqrt(2));
    }

    private static double density(double x) {
        return Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
    }

    private static double geluTanh(double x) {
        if (Math.abs(x) > 100) {
            return step(x);
        }
        double k = 2 * Math.sqrt(2 / Math.PI);
        double u = k * (x + 0.044715 * x * x * x);
        return sigmoid(u) + x * bell(u) * k * (1 + 3 * 0.044715 * x * x);
    }

    /** With n = eˣ: x·(n² + 2n)/(n² + 2n + 2), whose slope for large x is 1. */
    private static double mish(double x) {
        if (x > 100) {
            return 1;
        }
        if (x == Double.NEGATIVE_INFINITY) {
            return 0;
        }
        double n = Math.exp(x);
        double below = n * n + 2 * n + 2;
        return (n * n + 2 * n) / below + x * 4 * n * (n + 1) / (below * below);
    }
}
