// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Holds the gradients of a function against finite differences, in float64:
 *
 * <pre>{@code GradCheck.of(in -> MY_OP.call(in.get(0), in.get(1)), List.of(x, w)).run().orThrow();}</pre>
 *
 * <p>The slow mode compares every entry of every Jacobian; the fast one compares signed random combinations of all
 * entries (no entry weighs less than a quarter, so that a single wrong one shows), and the first, the last and a random
 * row and column one by one. Both find a relative error of 1e-6. Besides: backward is linear in the
 * incoming gradient, for one element and for many; a second backward gives the same bits; a gradient of zeros gives zeros;
 * strided, transposed and expanded incoming gradients give what dense ones do; an output without gradient counts as zeros;
 * incoming gradients are not written to.
 *
 * <p>Inputs that require a gradient must be float64 and away from kinks (ties of max, 0 of relu).
 */
public final class GradCheck {
    /** How a failure begins that is the inputs', not the backward's. */
    static final String NO_DERIVATIVE = "no reliable derivative";

    /** Of the largest value: what another order of a sum may change, in float32 too. */
    private static final double ROUNDING = 0x1p-18;

    private static final long DEFAULT_SEED = 20260101L;
    /** Up to this many inputs and outputs together all entries are compared, unless told otherwise. */
    private static final long SLOW_LIMIT = 120;

    private final CheckedFunction function;
    private long seed = DEFAULT_SEED;
    private int probes = 5;
    private final Precision precision;
    private double tolerance;
    private @Nullable Boolean fast;
    private boolean deterministic = true;
    private boolean probesOnly;
    private final List<String> failures = new ArrayList<>();
    private final List<String> done = new ArrayList<>();

    private GradCheck(CheckedFunction function, Precision precision) {
        this.function = function;
        this.precision = precision;
        this.tolerance = precision.relative;
    }

    /**
     * A function of one output.
     *
     * @param f called many times; the same inputs must give the same output
     * @param inputs what {@code f} is called with; float64 where they require a gradient
     * @return a check, to be run
     * @throws IllegalArgumentException if no input requires a gradient, or one that does is not float64
     */
    public static GradCheck of(Function<List<Tensor>, Tensor> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        Objects.requireNonNull(inputs, "inputs").forEach(t -> Objects.requireNonNull(t, "inputs"));
        return ofMany(in -> one(f, in), inputs);
    }

    @SuppressWarnings("NullAway") // the caller's function may be wrong
    private static List<Tensor> one(Function<List<Tensor>, Tensor> f, List<Tensor> inputs) {
        Tensor output = f.apply(inputs);
        if (output == null) {
            throw new IllegalArgumentException("gradcheck: the function returns null\n  fix: return its result.");
        }
        return List.of(output);
    }

    /**
     * A function of several outputs; those that are not floating are ignored.
     *
     * @param f called many times; the same inputs must give the same output
     * @param inputs what {@code f} is called with; float64 where they require a gradient
     * @return a check, to be run
     */
    public static GradCheck ofMany(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        Objects.requireNonNull(inputs, "inputs").forEach(t -> Objects.requireNonNull(t, "inputs"));
        boolean any = false;
        for (int i = 0; i < inputs.size(); i++) {
            Tensor t = inputs.get(i);
            any |= t.requiresGrad();
            if (t.requiresGrad() && t.dtype() != DType.FLOAT64) {
                throw new IllegalArgumentException("gradcheck: input " + i + " requires a gradient and is "
                        + t.describe() + "\n  fix: use float64; differences of other types are too coarse.");
            }
        }
        if (!any) {
            throw new IllegalArgumentException(
                    "gradcheck: no input requires a gradient\n  fix: call requiresGrad(true) on one.");
        }
        return new GradCheck(new CheckedFunction(f, inputs), Precision.FLOAT64);
    }

    /** With names for the inputs, and perhaps in float32, for kernels that have nothing wider. */
    static GradCheck of(CheckedFunction function, Precision precision) {
        return new GradCheck(function, precision);
    }

    /**
     * Checks second derivatives: the gradients of {@code f} as a function of its inputs and of incoming gradients.
     *
     * @param f called many times; the same inputs must give the same output
     * @param inputs what {@code f} is called with; float64 where they require a gradient
     * @return a check, to be run
     */
    public static GradCheck second(Function<List<Tensor>, Tensor> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        Objects.requireNonNull(inputs, "inputs").forEach(t -> Objects.requireNonNull(t, "inputs"));
        return secondOfMany(in -> one(f, in), inputs);
    }

    /**
     * As {@link #second}, of several outputs.
     *
     * @param f called many times; the same inputs must give the same output
     * @param inputs what {@code f} is called with; float64 where they require a gradient
     * @return a check, to be run
     */
    public static GradCheck secondOfMany(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        Objects.requireNonNull(inputs, "inputs").forEach(t -> Objects.requireNonNull(t, "inputs"));
        CheckedFunction first = new CheckedFunction(f, inputs);
        List<Tensor> all = new ArrayList<>(inputs);
        SplittableRandom random = new SplittableRandom(DEFAULT_SEED);
        for (Tensor like : first.differentiableOutputs()) {
            double[] values = random.doubles(like.numel(), -1, 1).toArray();
            all.add(CheckedFunction.tensor(values, like).requiresGrad(true));
        }
        int n = inputs.size();
        return ofMany(
                in -> {
                    List<Tensor> own = in.subList(0, n);
                    List<Tensor> outputs = CheckedFunction.differentiable(f.apply(own));
                    List<Tensor> wanted =
                            own.stream().filter(Tensor::requiresGrad).toList();
                    List<Tensor> gradients =
                            Autograd.grad(outputs, wanted, in.subList(n, in.size()), Autograd.Graph.CREATE, true);
                    List<Tensor> present = new ArrayList<>();
                    for (Tensor g : gradients) {
                        if (g != null) {
                            present.add(g);
                        }
                    }
                    return present;
                },
                all);
    }

    /**
     * Compares every entry; cost grows with inputs times outputs.
     *
     * @return this
     */
    public GradCheck slow() {
        fast = false;
        return this;
    }

    /**
     * Compares random combinations, and the first, last and a random row and column.
     *
     * @return this
     */
    public GradCheck fast() {
        fast = true;
        return this;
    }

    /** Whether a second call gives the same bits; what is declared nondeterministic may differ by rounding. */
    GradCheck deterministic(boolean bits) {
        deterministic = bits;
        return this;
    }

    private boolean same(double[] first, double[] second) {
        if (deterministic || first.length != second.length) {
            return Arrays.equals(first, second);
        }
        double largest = Arrays.stream(first)
                .map(Math::abs)
                .filter(Double::isFinite)
                .max()
                .orElse(0);
        double allowed = ROUNDING * largest;
        for (int i = 0; i < first.length; i++) {
            if (Double.compare(first[i], second[i]) != 0 && !(Math.abs(first[i] - second[i]) <= allowed)) {
                return false;
            }
        }
        return true;
    }

    /** One random combination of all entries of each input, and nothing else: for many sizes. */
    GradCheck probesOnly() {
        probesOnly = true;
        probes = 1;
        return fast();
    }

    /**
     * How many random combinations the fast mode tries for each input.
     *
     * @param count at least 1
     * @return this
     */
    public GradCheck probes(int count) {
        probes = count;
        return this;
    }

    /**
     * What the random choices start from; printed with every failure.
     *
     * @param newSeed any number
     * @return this
     */
    public GradCheck seed(long newSeed) {
        seed = newSeed;
        return this;
    }

    /**
     * The relative error that passes; 2e-7 unless a function is too noisy for that, which needs a reason.
     *
     * @param relative greater than 0
     * @return this
     */
    public GradCheck tolerance(double relative) {
        tolerance = relative;
        return this;
    }

    /**
     * What was found.
     *
     * @param passed one text for each derivative that agrees
     * @param failures one text for each that does not
     */
    public record Report(List<String> passed, List<String> failures) {
        /** {@return whether nothing failed} */
        public boolean ok() {
            return failures.isEmpty();
        }

        /**
         * This report, if all is well.
         *
         * @return this report
         * @throws CheckFailedException with this report as its message, if something failed
         */
        public Report orThrow() {
            if (!ok()) {
                throw new CheckFailedException(toString());
            }
            return this;
        }

        @Override
        public String toString() {
            return "gradcheck: " + (ok() ? "passed: " : failures.size() + " failed: ")
                    + String.join(ok() ? ", " : "\n", ok() ? passed : failures);
        }
    }

    /**
     * Runs all checks. Exceptions of the function itself come through.
     *
     * @return what was found; {@link Report#orThrow} makes an error of it
     */
    public Report run() {
        failures.clear();
        done.clear();
        function.preservingRandomState(() -> {
            double[][] x = function.values();
            if (same(function.evaluate(x), function.evaluate(x))) {
                done.add("same values on a second call");
            } else {
                failures.add("the function gives other values on a second call with the same inputs");
                return;
            }
            long entries = function.outputCount();
            for (double[] in : x) {
                entries += in.length;
            }
            if (fast != null ? fast : entries > SLOW_LIMIT) {
                compareFast(x);
            } else {
                compareAll(x);
            }
            if (failures.isEmpty() && function.outputCount() > 0 && !probesOnly) {
                new IncomingGradients(function, precision, seed, done, failures).check();
            }
        });
        return new Report(List.copyOf(done), List.copyOf(failures));
    }

    // ---------------------------------------------------------------- slow mode

    private void compareAll(double[][] x) {
        int m = function.outputCount();
        double[][][] rows = new double[m][][];
        for (int j = 0; j < m; j++) {
            double[] oneHot = new double[m];
            oneHot[j] = 1;
            rows[j] = function.vjp(oneHot);
        }
        // What is right for one element of the incoming gradient may be wrong for many.
        SplittableRandom random = new SplittableRandom(seed);
        double[][] weights = {signed(random, m), signed(random, m)};
        double[][][] weighted =
                m == 0 ? new double[0][][] : new double[][][] {function.vjp(weights[0]), function.vjp(weights[1])};
        Worst worst = new Worst();
        for (int i = 0; i < x.length; i++) {
            if (!function.isDifferentiated(i)) {
                continue;
            }
            for (int e = 0; e < x[i].length; e++) {
                NumericalDerivative.Estimate column = column(x, i, e);
                for (int p = 0; p < weighted.length; p++) {
                    worst.see(i, e, -1, dot(weights[p], column.value()), weighted[p][i][e], size(weights[p], column));
                }
                for (int j = 0; j < m; j++) {
                    worst.see(i, e, j, column.value()[j], rows[j][i][e], column.error()[j]);
                }
            }
        }
        worst.report("every entry of every Jacobian, alone and combined");
    }

    private NumericalDerivative.Estimate column(double[][] x, int input, int element) {
        double[] direction = new double[x[input].length];
        direction[element] = 1;
        return NumericalDerivative.along(
                precision, function::evaluate, x, input, direction, Math.max(1, Math.abs(x[input][element])));
    }

    // ---------------------------------------------------------------- fast mode

    private void compareFast(double[][] x) {
        SplittableRandom random = new SplittableRandom(seed);
        int m = function.outputCount();
        if (m == 0) {
            return;
        }
        Worst worst = new Worst();
        double[][] weights = new double[probes][];
        double[][][] weighted = new double[probes][][];
        for (int p = 0; p < probes; p++) {
            weights[p] = signed(random, m);
            weighted[p] = function.vjp(weights[p]);
        }
        int[] outputs = probesOnly ? new int[0] : firstLastRandom(m, random);
        double[][][] rows = new double[outputs.length][][];
        for (int r = 0; r < outputs.length; r++) {
            double[] oneHot = new double[m];
            oneHot[outputs[r]] = 1;
            rows[r] = function.vjp(oneHot);
        }
        for (int i = 0; i < x.length; i++) {
            if (!function.isDifferentiated(i) || x[i].length == 0) {
                continue;
            }
            for (int p = 0; p < probes; p++) {
                double[] direction = signed(random, x[i].length);
                NumericalDerivative.Estimate d =
                        NumericalDerivative.along(precision, function::evaluate, x, i, direction, 1);
                worst.see(i, -1, -1, dot(weights[p], d.value()), dot(weighted[p][i], direction), size(weights[p], d));
                for (int r = 0; r < outputs.length; r++) {
                    int j = outputs[r];
                    worst.see(i, -1, j, d.value()[j], dot(rows[r][i], direction), d.error()[j]);
                }
            }
            for (int e : probesOnly ? new int[0] : firstLastRandom(x[i].length, random)) {
                NumericalDerivative.Estimate column = column(x, i, e);
                for (int p = 0; p < probes; p++) {
                    worst.see(i, e, -1, dot(weights[p], column.value()), weighted[p][i][e], size(weights[p], column));
                }
                for (int r = 0; r < outputs.length; r++) {
                    int j = outputs[r];
                    worst.see(i, e, j, column.value()[j], rows[r][i][e], column.error()[j]);
                }
            }
        }
        worst.report(
                probesOnly
                        ? "a signed probe of all entries"
                        : probes + " signed probes, and first, last and random rows and columns");
    }

    /** Between a half and one in size, either sign: no entry can hide, and errors do not cancel twice. */
    private static double[] signed(SplittableRandom random, int n) {
        double[] v = new double[n];
        for (int i = 0; i < n; i++) {
            v[i] = (random.nextBoolean() ? 1 : -1) * random.nextDouble(0.5, 1);
        }
        return v;
    }

    private static int[] firstLastRandom(int n, SplittableRandom random) {
        return n == 0
                ? new int[0]
                : Arrays.stream(new int[] {0, n - 1, random.nextInt(n)})
                        .distinct()
                        .toArray();
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    private static double size(double[] weights, NumericalDerivative.Estimate d) {
        double sum = 0;
        for (int i = 0; i < weights.length; i++) {
            sum += Math.abs(weights[i]) * d.error()[i];
        }
        return sum;
    }

    // ---------------------------------------------------------------- what was worst

    /** The worst disagreement seen, as a multiple of what was allowed. */
    private final class Worst {
        private double excess = 1;
        private double largest = 1;
        private double unreliable;
        private String text = "";
        private String unreliableText = "";
        private String hint = "";
        private int wrong;

        void see(int input, int element, int output, double numerical, double analytic, double error) {
            double size = Math.max(Math.abs(numerical), Math.abs(analytic));
            double allowed = tolerance * size + 2 * error;
            double off = Math.abs(numerical - analytic);
            String where = "d " + function.outputName(output) + " / d " + function.inputName(input, element);
            if (!Double.isFinite(numerical) || !Double.isFinite(error)) {
                unreliable = Double.POSITIVE_INFINITY;
                unreliableText = where + ": the values of the function are not finite there";
                return;
            }
            largest = Double.isFinite(size) ? Math.max(largest, size) : largest;
            if (error > precision.unreliable * size && error > unreliable) {
                unreliable = error;
                unreliableText = String.format(
                        Locale.ROOT, "%s: differences vary by %.3g around %.17g", where, error, numerical);
            }
            if (!(off <= allowed)) {
                wrong++;
                double ratio = Double.isNaN(off) ? Double.POSITIVE_INFINITY : off / allowed;
                if (ratio > excess) {
                    excess = ratio;
                    text = String.format(
                            Locale.ROOT,
                            "%s: numerical %.17g, analytic %.17g, difference %.3g where %.3g is allowed",
                            where,
                            numerical,
                            analytic,
                            off,
                            allowed);
                    hint = Double.isNaN(analytic)
                            ? "the backward gives NaN where the function has a derivative"
                            : function.isForgotten(input)
                                    ? "the backward gives " + function.inputName(input) + " no gradient at all"
                                    : "the backward; unless the function has a kink or a tie near these inputs, or noise";
                }
            }
        }

        void report(String what) {
            if (unreliable > precision.noise * largest) { // what is small beside other derivatives may be noise
                failures.add(NO_DERIVATIVE + ": " + unreliableText
                        + "\n  fix: move the inputs away from every kink, pole and tie.");
            }
            if (wrong > 0) {
                failures.add("gradients disagree with finite differences in " + wrong + " comparisons; the worst:\n  "
                        + text + "\n  seed: " + seed + "L"
                        + "\n  fix: " + hint + ".");
            } else {
                done.add(what);
            }
        }
    }
}
