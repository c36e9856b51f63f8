// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.testkit.Domain.uniform;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Scans;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.ToDoubleBiFunction;
import java.util.function.ToDoubleFunction;

/** Reductions, scans and softmax, held against loops over doubles. */
final class ReductionRows {
    private static final int[] ALL = {};
    private static final double NAN = Double.NaN;
    private static final double INF = Double.POSITIVE_INFINITY;
    /** Rows that reductions stumble over: no numbers, infinities of both signs, huge, tiny, cancelling, zeros. */
    private static final double[] SPECIAL = {
        NAN, 1, 2, 1, INF, 2, -INF, INF, 1, -INF, -INF, -INF, 1e12, 1, -1e12, 1e12, 1e12, -3e11, 1e-12, 1e-12, -1e-13,
        0, 0, -0.0, 0, NAN, INF, 2, NAN, NAN
    };

    private ReductionRows() {}

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(sums());
        rows.addAll(extremes());
        rows.addAll(alongOne());
        rows.addAll(pairs());
        return rows;
    }

    // ---------------------------------------------------------------- how rows are made

    /** The elements of each group that is reduced, in order. */
    private static Grid grouped(Grid x, int[] dims, boolean keepDim, ToDoubleFunction<double[]> f) {
        boolean[] mask = new boolean[x.rank()];
        for (int d : dims) {
            mask[d < 0 ? d + x.rank() : d] = true;
        }
        if (dims.length == 0) {
            Arrays.fill(mask, true);
        }
        List<Long> kept = new ArrayList<>();
        List<Long> shown = new ArrayList<>();
        long count = 1;
        for (int d = 0; d < mask.length; d++) {
            if (!mask[d]) {
                kept.add(x.size(d));
            }
            if (!mask[d] || keepDim) {
                shown.add(mask[d] ? 1 : x.size(d));
            }
            count *= mask[d] ? x.size(d) : 1;
        }
        long[] shape = kept.stream().mapToLong(n -> n).toArray();
        long groups = Arrays.stream(shape).reduce(1, (p, q) -> p * q);
        double[][] members = new double[(int) groups][(int) count];
        int[] filled = new int[(int) groups];
        long[] index = new long[x.rank()];
        for (double value : x.values()) {
            int at = 0;
            for (int d = 0; d < mask.length; d++) {
                at = mask[d] ? at : (int) (at * x.size(d) + index[d]);
            }
            members[at][filled[at]++] = value;
            Grid.advance(index, x.shape());
        }
        double[] result = Arrays.stream(members).mapToDouble(f).toArray();
        return Grid.of(result, shown.stream().mapToLong(n -> n).toArray());
    }

    @SuppressWarnings("unchecked")
    private static OpSamples<ReduceArgs.X, Tensor> row(
            ReductionOp op, Domain domain, ToDoubleFunction<double[]> f, Number... scalars) {
        List<Number> s = List.of(scalars);
        return OpSamples.samples((Op<ReduceArgs.X, Tensor>) op.op())
                .sample("[2, 3] all", m -> new ReduceArgs.X(m.draw(domain, 2, 3), ALL, false, null, s))
                .sample("[2, 3, 2] 1", m -> new ReduceArgs.X(m.draw(domain, 2, 3, 2), new int[] {1}, false, null, s))
                .sample(
                        "[2, 2, 2] -1, 0 kept",
                        m -> new ReduceArgs.X(m.draw(domain, 2, 2, 2), new int[] {-1, 0}, true, null, s))
                .valuesOnly(
                        "[3, 1031] 1", m -> new ReduceArgs.X(m.draw(domain, 3, 1031), new int[] {1}, false, null, s))
                .valuesOnly(
                        "[1031, 3] 0", m -> new ReduceArgs.X(m.draw(domain, 1031, 3), new int[] {0}, false, null, s))
                .valuesOnly("[4111] all", m -> new ReduceArgs.X(m.draw(domain, 4111), ALL, false, null, s))
                .valuesOnly(
                        "special values, 1", m -> new ReduceArgs.X(m.of(SPECIAL, 10, 3), new int[] {1}, false, null, s))
                .valuesOnly(
                        "special values, 0", m -> new ReduceArgs.X(m.of(SPECIAL, 10, 3), new int[] {0}, false, null, s))
                .references(a -> grouped(Grid.of(a.x()), a.dims(), a.keepDim(), f))
                .terms(a -> members(a.x(), a.dims()) + 4)
                .error(
                        m -> new ReduceArgs.X(m.draw(domain, 2, 3), new int[] {2}, false, null, s),
                        ShapeException.class,
                        "out of range for rank 2");
    }

    /** How many elements make one of the result. */
    private static double members(Tensor x, int[] dims) {
        double n = dims.length == 0 ? x.numel() : 1;
        for (int d : dims) {
            n *= x.size(d);
        }
        return n;
    }

    private static double sum(double[] v, DoubleUnaryOperator f) {
        double sum = 0;
        for (double x : v) {
            sum += f.applyAsDouble(x);
        }
        return sum;
    }

    /** Errors of a sum are relative to the sum of sizes. */
    private static OpSamples<ReduceArgs.X, Tensor> scaled(
            OpSamples<ReduceArgs.X, Tensor> row, ToDoubleFunction<double[]> size) {
        return row.scale(a -> List.of(grouped(Grid.of(a.x()), a.dims(), a.keepDim(), size)));
    }

    // ---------------------------------------------------------------- rows

    private static List<OpSamples<?, ?>> sums() {
        Domain any = uniform(-2, 2);
        Domain away = any.awayFrom(0);
        Domain near = uniform(0.9, 1.1);
        Domain bits = random -> random.nextInt(0, 3) == 0 ? 1 : 0;
        return List.of(
                scaled(row(Reductions.SUM, any, v -> sum(v, x -> x)), v -> sum(v, Math::abs)),
                scaled(
                        row(Reductions.NANSUM, any, v -> sum(v, x -> Double.isNaN(x) ? 0 : x)),
                        v -> sum(v, x -> Double.isNaN(x) ? 0 : Math.abs(x))),
                row(Reductions.COUNT_NUMBERS, any, v -> sum(v, x -> Double.isNaN(x) ? 0 : 1))
                        .exact(),
                scaled(row(Reductions.MEAN, any, v -> sum(v, x -> x) / v.length), v -> sum(v, Math::abs) / v.length),
                row(Reductions.SUM_ABS, away, v -> sum(v, Math::abs)),
                row(Reductions.SUM_SQUARES, any, v -> sum(v, x -> x * x)),
                row(Reductions.SUM_POWERS, away, v -> sum(v, x -> Math.pow(Math.abs(x), 3)), 3.0),
                row(Reductions.NORM, away, v -> Math.sqrt(sum(v, x -> x * x))),
                row(Reductions.POWER_NORM, away, v -> Math.cbrt(sum(v, x -> Math.pow(Math.abs(x), 3))), 3.0),
                row(Reductions.PROD, near, v -> Arrays.stream(v).reduce(1, (p, q) -> p * q))
                        .ulps(16),
                row(Reductions.ANY, bits, v -> nonZero(v) > 0 ? 1 : 0).exact(),
                row(Reductions.ALL, bits, v -> nonZero(v) == v.length ? 1 : 0).exact(),
                row(Reductions.COUNT_NONZERO, bits, ReductionRows::nonZero).exact(),
                spread(Reductions.VAR, ReductionRows::variance),
                spread(Reductions.STD, (v, correction) -> Math.sqrt(variance(v, correction))));
    }

    private static double nonZero(double[] v) {
        return sum(v, x -> x != 0 ? 1 : 0);
    }

    private static OpSamples<ReduceArgs.Var, Tensor> spread(
            Op<ReduceArgs.Var, Tensor> op, ToDoubleBiFunction<double[], Double> f) {
        return OpSamples.samples(op)
                .sample("[2, 5] 1", m -> new ReduceArgs.Var(m.uniform(-2, 2, 2, 5), new int[] {1}, false, 1))
                .sample("[2, 3] all biased", m -> new ReduceArgs.Var(m.uniform(-2, 2, 2, 3), ALL, true, 0))
                .valuesOnly("[3, 1031] 1", m -> new ReduceArgs.Var(m.uniform(9, 11, 3, 1031), new int[] {1}, false, 1))
                .valuesOnly(
                        "large mean",
                        m -> new ReduceArgs.Var(m.uniform(1e4 - 1, 1e4 + 1, 3, 1031), new int[] {1}, false, 1))
                .valuesOnly("special values", m -> new ReduceArgs.Var(m.of(SPECIAL, 10, 3), new int[] {1}, false, 1))
                .valuesOnly("of one", m -> new ReduceArgs.Var(m.uniform(-2, 2, 3, 1), new int[] {1}, false, 1))
                .references(
                        a -> grouped(Grid.of(a.x()), a.dims(), a.keepDim(), v -> f.applyAsDouble(v, a.correction())))
                // The mean is rounded, by as much as it is larger than the distances from it; the error of a square
                // root is
                // at most that of its variance.
                .scale(a -> List.of(grouped(
                        Grid.of(a.x()),
                        a.dims(),
                        a.keepDim(),
                        v -> conditioned(v, f.applyAsDouble(v, a.correction())))))
                .terms(a -> members(a.x(), a.dims()));
    }

    private static double conditioned(double[] v, double spread) {
        double mean = sum(v, x -> x) / v.length;
        return Math.abs(mean) > 100 * spread ? spread + Math.abs(mean) * 4e-3 : spread;
    }

    private static double variance(double[] v, double correction) {
        double mean = sum(v, x -> x) / v.length;
        return sum(v, x -> (x - mean) * (x - mean)) / (v.length - correction);
    }

    private static List<OpSamples<?, ?>> extremes() {
        return List.of(
                extreme(Reductions.AMAX, v -> Arrays.stream(v).max().orElseThrow()),
                extreme(Reductions.AMIN, v -> Arrays.stream(v).min().orElseThrow()),
                extreme(
                                Reductions.MAX_ABS,
                                v -> Arrays.stream(v).map(Math::abs).max().orElseThrow())
                        .skip("gradients", "the samples have ties of sizes")
                        .skip("second derivatives", "the samples have ties of sizes"),
                extreme(Reductions.ARGMAX, v -> first(v, Arrays.stream(v).max().orElseThrow())),
                extreme(Reductions.ARGMIN, v -> first(v, Arrays.stream(v).min().orElseThrow())));
    }

    private static double first(double[] v, double value) {
        for (int i = 0; i < v.length; i++) {
            if (v[i] == value || Double.isNaN(v[i]) && Double.isNaN(value)) {
                return i;
            }
        }
        throw new AssertionError(value);
    }

    /** Of integers those that have a distance from 0. */
    private static Tensor special(Maker m) {
        double[] values = m.dtype().isFloating()
                ? SPECIAL
                : Arrays.stream(SPECIAL)
                        .map(x -> Double.isNaN(x) ? 7 : Math.max(-1e9, Math.min(1e9, x)))
                        .toArray();
        return m.of(values, 10, 3);
    }

    @SuppressWarnings("unchecked")
    private static OpSamples<ReduceArgs.X, Tensor> extreme(ReductionOp op, ToDoubleFunction<double[]> f) {
        return OpSamples.samples((Op<ReduceArgs.X, Tensor>) op.op())
                .dtypes(Kinds.numbers())
                .sample("[2, 3] all", m -> new ReduceArgs.X(m.distinct(2, 3), ALL, false, null, List.of()))
                .sample("[3, 4, 2] 1", m -> new ReduceArgs.X(m.distinct(3, 4, 2), new int[] {1}, true, null, List.of()))
                .valuesOnly(
                        "[5, 211] 1", m -> new ReduceArgs.X(m.distinct(5, 211), new int[] {1}, false, null, List.of()))
                .valuesOnly(
                        "special values, 1", m -> new ReduceArgs.X(special(m), new int[] {1}, false, null, List.of()))
                .valuesOnly(
                        "special values, 0", m -> new ReduceArgs.X(special(m), new int[] {0}, false, null, List.of()))
                .references(a -> grouped(Grid.of(a.x()), a.dims(), a.keepDim(), f))
                .exact()
                .error(
                        m -> new ReduceArgs.X(m.of(new double[0], 0, 3), new int[] {0}, false, null, List.of()),
                        ShapeException.class,
                        "of no elements");
    }

    private static double logSumExp(double[] v) {
        double max = Arrays.stream(v).max().orElse(Double.NEGATIVE_INFINITY);
        return Double.isInfinite(max) ? max : max + Math.log(sum(v, x -> Math.exp(x - max)));
    }

    /** Every line along a dimension replaced by another of the same length. */
    private static Grid lines(Grid x, int dim, java.util.function.UnaryOperator<double[]> f) {
        if (x.rank() == 0) {
            return Grid.of(f.apply(x.values()));
        }
        int d = dim < 0 ? dim + x.rank() : dim;
        Grid result = Grid.filled(i -> 0, x.shape());
        long[] rest = Grid.without(x.shape(), d);
        Grid.filled(
                others -> {
                    double[] line = f.apply(x.line(others, d));
                    long[] full = new long[x.rank()];
                    System.arraycopy(others, 0, full, 0, d);
                    System.arraycopy(others, d, full, d + 1, others.length - d);
                    for (int i = 0; i < line.length; i++) {
                        full[d] = i;
                        result.set(line[i], full);
                    }
                    return 0;
                },
                rest);
        return result;
    }

    private static double[] each(double[] v, DoubleUnaryOperator f) {
        return Arrays.stream(v).map(f).toArray();
    }

    private static OpSamples<Softmax.Along, Tensor> along(Op<Softmax.Along, Tensor> op) {
        return OpSamples.samples(op)
                .sample("[3, 4] 1", m -> new Softmax.Along(m.uniform(-3, 3, 3, 4), 1))
                .sample("[2, 3, 2] 1", m -> new Softmax.Along(m.uniform(-3, 3, 2, 3, 2), 1))
                .valuesOnly("[5, 211] -1", m -> new Softmax.Along(m.uniform(-8, 8, 5, 211), -1))
                .valuesOnly("[211, 5] 0", m -> new Softmax.Along(m.uniform(-8, 8, 211, 5), 0))
                .valuesOnly(
                        "with -inf",
                        m -> new Softmax.Along(
                                m.of(
                                        new double[] {Double.NEGATIVE_INFINITY, 1, 2, 3, 4, Double.NEGATIVE_INFINITY},
                                        2,
                                        3),
                                1))
                .valuesOnly("special values", m -> new Softmax.Along(m.of(SPECIAL, 10, 3), 1))
                .valuesOnly("special values, 0", m -> new Softmax.Along(m.of(SPECIAL, 10, 3), 0))
                .valuesOnly("large mean", m -> new Softmax.Along(m.uniform(1e4 - 8, 1e4 + 8, 5, 211), 1))
                .terms(a -> a.x().size(a.dim()))
                .error(m -> new Softmax.Along(m.uniform(0, 1, 2, 3), 2), ShapeException.class, "out of range")
                .error(m -> new Softmax.Along(m.indices(3, 2, 3), 1), dev.merapi.error.DTypeException.class, "int64");
    }

    private static List<OpSamples<?, ?>> alongOne() {
        return List.of(
                along(Softmax.SOFTMAX)
                        .references(a -> lines(Grid.of(a.x()), a.dim(), v -> {
                            double max = Arrays.stream(v).max().orElseThrow();
                            double sum = sum(v, x -> Math.exp(x - max));
                            return each(v, x -> Math.exp(x - max) / sum);
                        })),
                along(Softmax.LOG_SOFTMAX)
                        .references(a -> lines(Grid.of(a.x()), a.dim(), v -> {
                            double max = Arrays.stream(v).max().orElseThrow();
                            double sum = sum(v, x -> Math.exp(x - max));
                            return each(v, x -> x - max - Math.log(sum));
                        }))
                        .scale(a -> List.of(lines(Grid.of(a.x()), a.dim(), v -> {
                            double lse = logSumExp(v);
                            return each(v, x -> Double.isInfinite(x) ? 0 : Math.abs(x) + Math.abs(lse));
                        }))),
                along(Softmax.LOG_SUM_EXP)
                        .references(a -> Grid.of(a.x()).along(a.dim(), ReductionRows::logSumExp))
                        .scale(a -> List.of(Grid.of(a.x()).along(a.dim(), v -> 1 + Math.abs(logSumExp(v))))),
                softmaxBackward(Softmax.SOFTMAX_BACKWARD, (g, y, sum) -> y * (g - sum), (g, y) -> g * y),
                softmaxBackward(Softmax.LOG_SOFTMAX_BACKWARD, (g, y, sum) -> g - Math.exp(y) * sum, (g, y) -> g),
                OpSamples.samples(Reductions.CUMSUM)
                        .sample("[2, 4] 1", m -> new Reductions.CumSum(m.uniform(-2, 2, 2, 4), 1))
                        .sample("[3, 2] 0", m -> new Reductions.CumSum(m.uniform(-2, 2, 3, 2), 0))
                        .valuesOnly("[2, 503] 1", m -> new Reductions.CumSum(m.uniform(-2, 2, 2, 503), 1))
                        .valuesOnly("special values, 1", m -> new Reductions.CumSum(m.of(SPECIAL, 10, 3), 1))
                        .valuesOnly("special values, 0", m -> new Reductions.CumSum(m.of(SPECIAL, 10, 3), 0))
                        .references(a -> lines(Grid.of(a.x()), a.dim(), v -> running(v, x -> x)))
                        .scale(a -> List.of(lines(Grid.of(a.x()), a.dim(), v -> running(v, Math::abs))))
                        .terms(a -> a.x().size(a.dim())),
                scan(Scans.CUMPROD, uniform(0.6, 1.4))
                        .references(a -> lines(Grid.of(a.x()), a.dim(), v -> folded(v, 1, (p, x) -> p * x)))
                        .terms(a -> a.x().numel()),
                scan(Scans.LOG_CUM_SUM_EXP, uniform(-3, 3))
                        .references(a -> lines(
                                Grid.of(a.x()),
                                a.dim(),
                                v -> folded(v, Double.NEGATIVE_INFINITY, ReductionRows::logOfSum)))
                        .scale(a -> List.of(Grid.filled(i -> 4, a.x().shape().toArray())))
                        .terms(a -> a.x().numel()),
                cumulative(Scans.CUMMAX, 1),
                cumulative(Scans.CUMMIN, -1));
    }

    private static <R> OpSamples<Scans.Along, R> scan(Op<Scans.Along, R> op, Domain domain) {
        return OpSamples.samples(op)
                .sample("[2, 4] 1", m -> new Scans.Along(m.draw(domain, 2, 4), 1))
                .sample("[3, 2] 0", m -> new Scans.Along(m.draw(domain, 3, 2), 0))
                .sample("[]", m -> new Scans.Along(m.draw(domain), -1))
                .valuesOnly("[2, 503] 1", m -> new Scans.Along(m.draw(domain, 2, 503), 1))
                .valuesOnly("[3, 40, 2] 1", m -> new Scans.Along(m.draw(domain, 3, 40, 2), 1))
                .valuesOnly("special values, 1", m -> new Scans.Along(special(m), 1))
                .valuesOnly("special values, 0", m -> new Scans.Along(special(m), 0))
                .error(m -> new Scans.Along(m.draw(domain, 2, 3), 2), ShapeException.class, "out of range");
    }

    private static double[] folded(double[] v, double from, DoubleBinaryOperator f) {
        double[] results = new double[v.length];
        for (int i = 0; i < v.length; i++) {
            from = f.applyAsDouble(from, v[i]);
            results[i] = from;
        }
        return results;
    }

    private static double logOfSum(double a, double b) {
        double most = Math.max(a, b);
        return Double.isInfinite(most) || Double.isNaN(most) ? most : most + Math.log1p(Math.exp(-Math.abs(a - b)));
    }

    private static OpSamples<Scans.Along, Scans.Extremes> cumulative(Op<Scans.Along, Scans.Extremes> op, int sign) {
        return OpSamples.samples(op)
                .dtypes(Kinds.numbers())
                .sample("[2, 4] 1", m -> new Scans.Along(m.distinct(2, 4), 1))
                .sample("[3, 2] 0", m -> new Scans.Along(m.distinct(3, 2), 0))
                .sample("[]", m -> new Scans.Along(m.distinct(), -1))
                .valuesOnly("[2, 503] 1", m -> new Scans.Along(m.uniform(-2, 2, 2, 503), 1))
                .valuesOnly(
                        "[3, 40, 2] 1, with equals",
                        m -> new Scans.Along(m.indices(5, 3, 40, 2).to(m.dtype()), 1))
                .valuesOnly("special values, 1", m -> new Scans.Along(special(m), 1))
                .valuesOnly("special values, 0", m -> new Scans.Along(special(m), 0))
                .reference(a -> List.of(
                        lines(Grid.of(a.x()), a.dim(), v -> cumulative(v, sign, false)),
                        lines(Grid.of(a.x()), a.dim(), v -> cumulative(v, sign, true))))
                .exact()
                .error(m -> new Scans.Along(m.distinct(2, 3), 2), ShapeException.class, "out of range");
    }

    private static double[] cumulative(double[] v, int sign, boolean where) {
        double[] results = new double[v.length];
        int best = 0;
        for (int i = 0; i < v.length; i++) {
            best = Double.isNaN(v[i]) || sign * v[i] >= sign * v[best] ? i : best;
            results[i] = where ? best : v[best];
        }
        return results;
    }

    private static double[] running(double[] v, DoubleUnaryOperator f) {
        double[] sums = new double[v.length];
        double sum = 0;
        for (int i = 0; i < v.length; i++) {
            sum += f.applyAsDouble(v[i]);
            sums[i] = sum;
        }
        return sums;
    }

    private interface OfSum {
        double apply(double g, double y, double sum);
    }

    private static OpSamples<Softmax.BackwardArgs, Tensor> softmaxBackward(
            Op<Softmax.BackwardArgs, Tensor> op, OfSum f, DoubleBinaryOperator term) {
        return OpSamples.samples(op)
                .sample("[3, 4] 1", m -> new Softmax.BackwardArgs(m.uniform(-1, 1, 3, 4), m.uniform(0, 0.5, 3, 4), 1))
                .valuesOnly(
                        "[7, 211] 1",
                        m -> new Softmax.BackwardArgs(m.uniform(-1, 1, 7, 211), m.uniform(0, 0.01, 7, 211), 1))
                .references(a -> {
                    Grid g = Grid.of(a.grad());
                    Grid y = Grid.of(a.y());
                    Grid terms = Grid.filled(i -> term.applyAsDouble(g.at(i), y.at(i)), g.shape());
                    Grid sums = terms.along(a.dim(), v -> sum(v, x -> x));
                    return Grid.filled(i -> f.apply(g.at(i), y.at(i), sums.at(Grid.without(i, 1))), g.shape());
                })
                .scale(a -> {
                    Grid g = Grid.of(a.grad());
                    Grid y = Grid.of(a.y());
                    Grid terms = Grid.filled(i -> Math.abs(term.applyAsDouble(g.at(i), y.at(i))), g.shape());
                    Grid sums = terms.along(a.dim(), v -> sum(v, x -> x));
                    return List.of(Grid.filled(i -> 1 + sums.at(Grid.without(i, 1)), g.shape()));
                })
                .terms(a -> a.y().size(1));
    }

    // ---------------------------------------------------------------- losses of two tensors

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> pairs() {
        Domain any = uniform(-2, 2);
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(pair("mse_loss", (x, y) -> (x - y) * (x - y), any, any));
        rows.addAll(pair("l1_loss", (x, y) -> Math.abs(x - y), uniform(-2, -0.1), uniform(0, 2)));
        rows.addAll(pair(
                "huber_loss",
                (x, y) -> Math.abs(x - y) <= 1 ? 0.5 * (x - y) * (x - y) : Math.abs(x - y) - 0.5,
                uniform(-2, -1.2),
                uniform(0, 2),
                1.0));
        rows.addAll(pair(
                "bce_with_logits",
                (x, y) -> Math.max(x, 0) - (y == 0 ? 0 : x * y) + Math.log1p(Math.exp(-Math.abs(x))),
                any.awayFrom(0),
                uniform(0, 1)));
        rows.addAll(pair(
                "binary_cross_entropy",
                (x, y) -> -y * Math.max(Math.log(x), -100) - (1 - y) * Math.max(Math.log1p(-x), -100),
                uniform(0.1, 0.9),
                uniform(0, 1)));
        rows.addAll(pair(
                "smooth_l1_loss",
                (x, y) -> Math.abs(x - y) < 0.5 ? (x - y) * (x - y) : Math.abs(x - y) - 0.25,
                uniform(-2, -0.6),
                uniform(0, 2),
                0.5));
        rows.addAll(
                pair("kl_div", (x, y) -> (y == 0 ? 0 : y * Math.log(y)) - y * x, uniform(-2, -0.1), uniform(0.1, 1)));
        return rows;
    }

    @SuppressWarnings("unchecked")
    private static List<OpSamples<?, ?>> pair(
            String name, DoubleBinaryOperator f, Domain left, Domain right, Number... scalars) {
        List<Number> s = List.of(scalars);
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        for (String form : List.of("", "_sum")) {
            rows.add(OpSamples.samples((Op<ReduceArgs.XY, Tensor>) Ops.named("merapi::" + name + form))
                    .sample(
                            "[2, 3]",
                            m -> new ReduceArgs.XY(m.draw(left, 2, 3), m.draw(right, 2, 3), ALL, false, null, s))
                    .valuesOnly(
                            "[701]", m -> new ReduceArgs.XY(m.draw(left, 701), m.draw(right, 701), ALL, false, null, s))
                    .references(a -> {
                        Grid y = Grid.of(a.y());
                        Grid x = Grid.of(a.x());
                        double sum = sum(
                                Grid.filled(i -> f.applyAsDouble(x.at(i), y.at(i)), x.shape())
                                        .values(),
                                v -> v);
                        return Grid.of(new double[] {form.isEmpty() ? sum / a.x().numel() : sum});
                    })
                    .valuesOnly(
                            "NaN",
                            m -> new ReduceArgs.XY(
                                    m.of(new double[] {1, NAN, 2}, 3),
                                    m.of(new double[] {1, 1, 1}, 3),
                                    ALL,
                                    false,
                                    null,
                                    s))
                    .valuesOnly(
                            "infinite",
                            m -> new ReduceArgs.XY(
                                    m.of(new double[] {1, INF, 2}, 3),
                                    m.of(new double[] {1, 0, 1}, 3),
                                    ALL,
                                    false,
                                    null,
                                    s))
                    .terms(a -> a.x().numel() + 4));
        }
        rows.add(OpSamples.samples((Op<PointwiseArgs.XY, Tensor>) Ops.named("merapi::" + name + "_each"))
                .sample("[2, 3]", m -> new PointwiseArgs.XY(m.draw(left, 2, 3), m.draw(right, 2, 3), s))
                .references(a -> {
                    Grid x = Grid.of(a.x());
                    Grid y = Grid.of(a.y());
                    return Grid.filled(i -> f.applyAsDouble(x.at(i), y.at(i)), x.shape());
                })
                .ulps(8)
                .scale(a -> {
                    Grid x = Grid.of(a.x());
                    Grid y = Grid.of(a.y());
                    return List.of(Grid.filled(i -> 1 + x.at(i) * x.at(i) + y.at(i) * y.at(i), x.shape()));
                }));
        return rows;
    }
}
