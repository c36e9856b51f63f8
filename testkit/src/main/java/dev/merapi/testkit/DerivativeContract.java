// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.op.Op;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Losses;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.function.BinaryOperator;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * Gradients are as accurate as functions: within 4 ulp of the true slope, or as near as the slopes one ulp of the input to
 * either side, if those are further away. Every pattern of the 16-bit types is tried, and of float32 a seeded sample of all
 * patterns: {@code -Dmerapi.derivatives=1000000} for more of them. Results below the smallest normal float32 may be 0; where
 * the function overflows, its slope may be infinite too.
 */
public abstract class DerivativeContract {
    private static final double ULPS = 4;

    protected abstract Device device();

    /** How many float32 numbers are tried. */
    protected int samples() {
        return Integer.getInteger("merapi.derivatives", 20_000);
    }

    protected List<DType> dtypes() {
        return List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16);
    }

    /** Whether an op has its turn, where each is several kernels to compile. */
    protected boolean chosen(String name) {
        return true;
    }

    // ---------------------------------------------------------------- one tensor

    @Test
    void slopesOfOneTensorAreAccurate() {
        Map<String, List<DerivativeRows.Row>> rows = DerivativeRows.all();
        List<String> wrong = new ArrayList<>();
        TreeSet<String> missing = new TreeSet<>();
        for (Op<?, ?> op : Ops.builtIn()) {
            boolean here = op.definition().code() instanceof PointwiseCode c
                    && c.inputs() == 1
                    && !op.definition().isNonDifferentiable()
                    && !op.definition().isMutating()
                    && !List.of("merapi::cast", "merapi::contiguous").contains(op.name());
            if (here && !rows.containsKey(op.name())) {
                missing.add(op.name());
            }
        }
        assertTrue(missing.isEmpty(), "no derivatives are written down for " + missing);
        for (DType dtype : dtypes()) {
            double[] x = inputs(dtype);
            rows.forEach((name, all) -> {
                for (DerivativeRows.Row row : chosen(name) ? all : List.<DerivativeRows.Row>of()) {
                    slopes(name + row.scalars(), name, row, dtype, x, wrong);
                }
            });
        }
        assertTrue(wrong.isEmpty(), () -> wrong.size() + " are wrong:\n" + String.join("\n", wrong));
    }

    @SuppressWarnings("unchecked")
    private void slopes(String what, String name, DerivativeRows.Row row, DType dtype, double[] x, List<String> wrong) {
        try (Scope scope = Scope.open()) {
            Op<PointwiseArgs.X, Tensor> op = (Op<PointwiseArgs.X, Tensor>) Ops.named(name);
            Tensor input = Tensor.of(x).to(dtype).to(device()).detach().requiresGrad(true);
            Tensor y = op.call(new PointwiseArgs.X(input, row.scalars()));
            double[] value = y.toDoubleArray();
            double[] got = gradient(y, input).toDoubleArray();
            Worst worst = new Worst(what + " " + dtype);
            for (int i = 0; i < x.length; i++) {
                boolean overflows =
                        Double.isInfinite(value[i]) && got[i] == Math.signum(got[i]) * Double.POSITIVE_INFINITY;
                if (!overflows) {
                    worst.add(dtype, x[i], row.slope(), got[i]);
                }
            }
            worst.report(wrong);
        }
    }

    private static Tensor gradient(Tensor y, Tensor x) {
        Tensor ones = Tensor.ones(y.shape(), y.dtype(), y.device());
        return Autograd.grad(List.of(y), List.of(x), List.of(ones), Autograd.Graph.FREE, false)
                .get(0);
    }

    /** Every pattern of 16 bits; of 32 a sample, with the signs of zero, the limits and their neighbours. */
    private double[] inputs(DType dtype) {
        if (dtype != DType.FLOAT32) {
            double[] all = new double[1 << 16];
            for (int i = 0; i < all.length; i++) {
                all[i] = dtype == DType.BFLOAT16 ? Float.intBitsToFloat(i << 16) : half(i);
            }
            return Arrays.stream(all).filter(x -> !Double.isNaN(x)).toArray();
        }
        SplittableRandom random = new SplittableRandom(11);
        double[] all = new double[samples()];
        for (int i = 0; i < all.length; i++) {
            // Half of all patterns lie below 1e-19 or above 1e19: every other one is drawn from where functions bend.
            all[i] = i % 2 == 0
                    ? Float.intBitsToFloat(random.nextInt())
                    : (float) ((random.nextBoolean() ? 1 : -1) * Math.exp(random.nextDouble(-12, 5)));
        }
        return Arrays.stream(all).filter(x -> !Double.isNaN(x)).toArray();
    }

    private static double half(int bits) {
        int exponent = bits >> 10 & 31;
        double fraction = (bits & 1023) / 1024.0;
        double size = exponent == 31
                ? fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN
                : exponent == 0 ? fraction * 0x1p-14 : (1 + fraction) * Math.scalb(1.0, exponent - 15);
        return (bits & 0x8000) != 0 ? -size : size;
    }

    // ---------------------------------------------------------------- two tensors

    private record Pair(
            String name,
            BinaryOperator<Tensor> op,
            DoubleBinaryOperator byX,
            @Nullable DoubleBinaryOperator byY) {}

    @Test
    void slopesOfTwoTensorsAreAccurateOnAGrid() {
        List<String> wrong = new ArrayList<>();
        List<Pair> pairs = List.of(
                new Pair("div", Arithmetic.DIV::call, (x, y) -> 1 / y, (x, y) -> -x / y / y),
                new Pair("atan2", Arithmetic.ATAN2::call, (y, x) -> angle(y, x, x), (y, x) -> angle(y, x, -y)),
                new Pair("pow", Arithmetic.POW::call, DerivativeContract::byBase, DerivativeContract::byExponent),
                new Pair(
                        "bce",
                        (x, y) -> Losses.BCE_WITH_LOGITS.call(x, y, Losses.Reduction.NONE),
                        DerivativeContract::bce,
                        (x, y) -> -x),
                new Pair("mul", Arithmetic.MUL::call, (x, y) -> y, (x, y) -> x),
                new Pair(
                        "copysign",
                        Arithmetic.COPYSIGN::call,
                        (x, y) -> x == 0 ? 0 : Math.signum(x) * Math.copySign(1, y),
                        null));
        double[] values = {
            0,
            1e-30,
            3e-20,
            1e-7,
            0.01,
            0.3,
            0.5,
            0.99,
            1,
            1.0000001,
            1.5,
            2,
            2.718,
            3,
            7.5,
            20,
            88.7,
            1e4,
            3e18,
            1e25,
            1e38,
            Double.POSITIVE_INFINITY
        };
        int n = values.length;
        double[] x = new double[4 * n * n];
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            x[i] = (float) ((i & 1) == 0 ? values[i / 4 % n] : -values[i / 4 % n]);
            y[i] = (float) ((i & 2) == 0 ? values[i / 4 / n] : -values[i / 4 / n]);
        }
        for (Pair pair : pairs) {
            if (!chosen(pair.name)) {
                continue;
            }
            try (Scope scope = Scope.open()) {
                Tensor a = Tensor.of(x).to(DType.FLOAT32).to(device()).detach().requiresGrad(true);
                Tensor b = Tensor.of(y).to(DType.FLOAT32).to(device()).detach().requiresGrad(true);
                Tensor r = pair.op.apply(a, b);
                double[] byX = gradient(r, a).toDoubleArray();
                Worst worst = new Worst(pair.name + " by its first operand");
                for (int i = 0; i < x.length; i++) {
                    double second = y[i];
                    double first = x[i];
                    worst.at = ", " + second;
                    worst.other = effect(v -> pair.byX.applyAsDouble(first, v), second);
                    worst.add(DType.FLOAT32, first, v -> pair.byX.applyAsDouble(v, second), byX[i]);
                }
                worst.report(wrong);
                DoubleBinaryOperator slope = pair.byY;
                if (slope != null) {
                    double[] byY = gradient(pair.op.apply(a, b), b).toDoubleArray();
                    worst = new Worst(pair.name + " by its second operand");
                    for (int i = 0; i < x.length; i++) {
                        double first = x[i];
                        double second = y[i];
                        worst.at = " after " + first;
                        worst.other = effect(v -> slope.applyAsDouble(v, second), first);
                        worst.add(DType.FLOAT32, y[i], v -> slope.applyAsDouble(first, v), byY[i]);
                    }
                    worst.report(wrong);
                }
            }
        }
        assertTrue(wrong.isEmpty(), () -> wrong.size() + " are wrong:\n" + String.join("\n", wrong));
    }

    /** What one ulp of a float32 does to a function of it. */
    private static double effect(DoubleUnaryOperator f, double x) {
        double at = f.applyAsDouble(x);
        double below = Math.abs(f.applyAsDouble(Math.nextDown((float) x)) - at);
        double above = Math.abs(f.applyAsDouble(Math.nextUp((float) x)) - at);
        return Math.max(Double.isNaN(below) ? 0 : below, Double.isNaN(above) ? 0 : above);
    }

    /** σ(x) − y */
    private static double bce(double x, double y) {
        double e = Math.exp(-Math.abs(x)) / (1 + Math.exp(-Math.abs(x)));
        return x > 0 ? 1 - y - e : e - y;
    }

    /** above/(y² + x²); 0 at the origin and at infinity. */
    private static double angle(double y, double x, double above) {
        double size = Math.hypot(x, y);
        return size == 0 || Double.isInfinite(size) ? 0 : above / size / size;
    }

    private static double byBase(double a, double b) {
        if (Math.abs(Math.pow(a, b - 1)) > Float.MAX_VALUE && Math.abs(b) < 1) {
            return Double.NaN; // the power overflows before it meets the factor
        }
        return b == 0 ? 0 : Double.isNaN(Math.pow(a, b)) || Double.isInfinite(b) ? Double.NaN : b * Math.pow(a, b - 1);
    }

    private static double byExponent(double a, double b) {
        if (a == 0 && b >= 0) {
            return 0;
        }
        return a < 0 || Double.isInfinite(a) || Double.isInfinite(b) ? Double.NaN : Math.pow(a, b) * Math.log(a);
    }

    // ---------------------------------------------------------------- second derivatives

    /** Where the slope's slope is finite the second gradient is finite too, and about as large. */
    @Test
    void secondDerivativesAreNumbers() {
        SplittableRandom random = new SplittableRandom(5);
        double[] x = new double[800];
        for (int i = 0; i < x.length; i++) {
            double size = i % 2 == 0 ? Math.exp(random.nextDouble(-6, 4)) : Math.exp(random.nextDouble(-60, 60));
            x[i] = (float) (random.nextBoolean() ? size : -size);
        }
        List<String> wrong = new ArrayList<>();
        DerivativeRows.all().forEach((name, rows) -> {
            for (DerivativeRows.Row row : chosen(name) ? rows : List.<DerivativeRows.Row>of()) {
                second(name, row, x, wrong);
            }
        });
        assertTrue(wrong.isEmpty(), () -> wrong.size() + " are wrong:\n" + String.join("\n", wrong));
    }

    @SuppressWarnings("unchecked")
    private void second(String name, DerivativeRows.Row row, double[] x, List<String> wrong) {
        try (Scope scope = Scope.open()) {
            Op<PointwiseArgs.X, Tensor> op = (Op<PointwiseArgs.X, Tensor>) Ops.named(name);
            Tensor input = Tensor.of(x).to(DType.FLOAT32).to(device()).detach().requiresGrad(true);
            Tensor y = op.call(new PointwiseArgs.X(input, row.scalars()));
            Tensor ones = Tensor.ones(y.shape(), y.dtype(), y.device());
            Tensor slope = Autograd.grad(List.of(y), List.of(input), List.of(ones), Autograd.Graph.CREATE, false)
                    .get(0);
            double[] got = slope.requiresGrad()
                    ? Autograd.grad(List.of(slope), List.of(input), List.of(ones), Autograd.Graph.FREE, true).stream()
                            .map(t -> t == null ? new double[x.length] : t.toDoubleArray())
                            .findFirst()
                            .orElseThrow()
                    : new double[x.length];
            for (int i = 0; i < x.length; i++) {
                double h = Math.abs(x[i]) * 1e-5;
                double left = row.slope().applyAsDouble(x[i] - h);
                double right = row.slope().applyAsDouble(x[i] + h);
                double want = (right - left) / (2 * h);
                double noise = 1e-10 * Math.max(Math.abs(left), Math.abs(right)) / h;
                boolean swings = List.of("merapi::sin", "merapi::cos", "merapi::tan", "merapi::sinc")
                                .contains(name)
                        && Math.abs(x[i]) > 100;
                boolean sought = !swings && Math.abs(want) < 1e37 && !kink(row.slope(), x[i], h);
                if (sought && !(Math.abs(got[i] - want) <= 1e-3 * Math.abs(want) + noise + Float.MIN_NORMAL)) {
                    wrong.add(name + row.scalars() + " at " + x[i] + ": second derivative " + got[i] + " for " + want);
                    return;
                }
            }
        }
    }

    /** Whether the slope jumps nearby. */
    private static boolean kink(DoubleUnaryOperator slope, double x, double h) {
        double whole = slope.applyAsDouble(x + h) - slope.applyAsDouble(x - h);
        double half = slope.applyAsDouble(x + h / 2) - slope.applyAsDouble(x - h / 2);
        return !(Math.abs(whole - 2 * half) <= 0.01 * Math.abs(whole) + 1e-9);
    }

    // ---------------------------------------------------------------- how far off

    /** The worst of many comparisons. */
    private static final class Worst {
        private final String what;
        private String at = "";
        /** The effect of one ulp of the other operand. */
        private double other;

        private double off = 1;
        private int count;
        private String text = "";

        Worst(String what) {
            this.what = what;
        }

        void add(DType dtype, double x, DoubleUnaryOperator slope, double got) {
            double want = slope.applyAsDouble(x);
            if (Double.isNaN(want)) {
                return;
            }
            double limit = limit(dtype);
            if (Double.compare(got, want) == 0
                    || got == want
                    || Math.abs(want) > limit
                            && Math.abs(got) >= limit * (1 - 4 * dtype.epsilon())
                            && Math.signum(got) == Math.signum(want)) {
                return;
            }
            double error = Math.abs(got - want);
            double allowed = Math.max(ULPS * ulp(dtype, want), dtype == DType.FLOAT16 ? 0 : Float.MIN_NORMAL);
            if (error <= Math.max(allowed, other)) {
                return;
            }
            for (double neighbour : new double[] {x - ulp(dtype, x), x + ulp(dtype, x)}) {
                double effect = Math.abs(slope.applyAsDouble(neighbour) - want);
                allowed = effect > allowed ? effect : allowed;
            }
            double relative = error / Math.max(allowed, other);
            if (!(relative <= 1)) {
                count++;
                if (!(relative <= off)) {
                    off = relative;
                    text = " at " + x + at + ": " + got + " for " + want + ", off by " + error / ulp(dtype, want)
                            + " ulp";
                }
            }
        }

        void report(List<String> wrong) {
            if (count > 0) {
                wrong.add(what + ": " + count + " times, most" + text);
            }
        }

        private static double limit(DType dtype) {
            return dtype == DType.FLOAT16 ? 65504 : dtype == DType.BFLOAT16 ? 0x1.fep127 : Float.MAX_VALUE;
        }

        /** Distance between numbers of a dtype at x. */
        private static double ulp(DType dtype, double x) {
            double smallest = dtype == DType.FLOAT16 ? 0x1p-24 : dtype == DType.BFLOAT16 ? 0x1p-133 : Float.MIN_VALUE;
            double size = Math.min(Math.abs(x), limit(dtype));
            return size == 0 ? smallest : Math.max(smallest, Math.scalb(dtype.epsilon(), Math.getExponent(size)));
        }
    }
}
