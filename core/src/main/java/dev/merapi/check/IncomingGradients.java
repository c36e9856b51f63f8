// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.check.CheckedFunction.Form;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.function.Supplier;

/** How a backward treats the gradients that come in: linear in them; any layout, zeros, absent ones, twice the same. */
final class IncomingGradients {
    private final CheckedFunction f;
    private final Precision precision;
    private final long seed;
    private final List<String> done;
    private final List<String> failures;

    IncomingGradients(CheckedFunction f, Precision precision, long seed, List<String> done, List<String> failures) {
        this.f = f;
        this.precision = precision;
        this.seed = seed;
        this.done = done;
        this.failures = failures;
    }

    void check() {
        int m = f.outputCount();
        SplittableRandom random = new SplittableRandom(seed);
        double[] v = rounded(random.doubles(m, -1, 1).toArray());
        double[][] dense = f.vjp(v);
        report("backward is re-entrant", "a second backward gives another gradient", dense, 0, () -> f.vjp(v));
        double[][] none = combined(0, dense, 0, dense);
        report(
                "zeros give zeros",
                "a gradient of zeros gives a gradient that is not zero: backward does not multiply by what comes in",
                none,
                0,
                () -> f.vjp(new double[m]));
        linear(v, dense, random);
        forms(v, dense);
        absent(v);
    }

    /** J(a·v + b·w) = a·J(v) + b·J(w), for many elements at once and for large and small ones. */
    private void linear(double[] v, double[][] ofV, SplittableRandom random) {
        double[] w = rounded(random.doubles(v.length, -1, 1).toArray());
        double[][] ofW = f.vjp(w);
        String wrong = "backward is not linear in the incoming gradient: ";
        int before = failures.size();
        for (double[] ab : new double[][] {{1, 1}, {-0x1p10, 0}, {0x1p-10, 0}, {0.5, -2}}) {
            double[] sum = combined(ab[0], new double[][] {v}, ab[1], new double[][] {w})[0];
            report(
                    "linear in the incoming gradient",
                    wrong + "of " + ab[0] + " v + " + ab[1] + " w",
                    combined(ab[0], ofV, ab[1], ofW),
                    precision.rounding,
                    () -> f.vjp(sum));
            if (failures.size() > before) {
                return;
            }
        }
    }

    private void forms(double[] v, double[][] dense) {
        other("strided", "a strided incoming gradient", v, dense, Form.STRIDED);
        other("transposed", "a transposed incoming gradient", v, dense, Form.TRANSPOSED);
        other("offset", "an incoming gradient with an offset", v, dense, Form.OFFSET);
        double[] same = new double[v.length];
        for (int k = 0; k < f.outputs(); k++) {
            Arrays.fill(same, f.start(k), f.start(k) + f.size(k), f.size(k) == 0 ? 0 : v[f.start(k)]);
        }
        other("expanded", "an expanded incoming gradient", same, f.vjp(same), Form.EXPANDED);
    }

    private void other(String form, String what, double[] v, double[][] dense, Form layout) {
        report(
                form + " gradients",
                what + " gives another result than a dense one",
                dense,
                precision.rounding,
                () -> f.vjp(v, k -> true, layout));
    }

    private void absent(double[] v) {
        for (int k = 0; k < f.outputs() && f.outputs() > 1; k++) {
            int absent = k;
            double[] without = v.clone();
            Arrays.fill(without, f.start(k), f.start(k) + f.size(k), 0);
            report(
                    "no gradient for output " + k,
                    "an absent gradient of output " + k + " gives another result than zeros",
                    f.vjp(without),
                    precision.rounding,
                    () -> f.vjp(without, i -> i != absent, Form.DENSE));
        }
    }

    /** To what the dtype holds; multiples by powers of two then stay exact. */
    private double[] rounded(double[] v) {
        if (precision == Precision.FLOAT32) {
            for (int i = 0; i < v.length; i++) {
                v[i] = Math.rint(v[i] * 0x1p12) * 0x1p-12;
            }
        }
        return v;
    }

    private static double[][] combined(double a, double[][] x, double b, double[][] y) {
        double[][] sum = new double[x.length][];
        for (int i = 0; i < x.length; i++) {
            sum[i] = new double[x[i].length];
            for (int e = 0; e < sum[i].length; e++) {
                sum[i][e] = (a == 0 ? 0 : a * x[i][e]) + (b == 0 ? 0 : b * y[i][e]);
            }
        }
        return sum;
    }

    /** @param relative what may differ, beside the largest element of the gradient; a backward that throws fails too */
    private void report(String what, String wrong, double[][] expected, double relative, Supplier<double[][]> call) {
        double[][] actual;
        try {
            actual = call.get();
        } catch (CheckFailedException e) {
            throw e;
        } catch (RuntimeException e) {
            failures.add(wrong + ": it throws " + e.getClass().getSimpleName() + ": " + e.getMessage());
            return;
        }
        double largest = Comparison.largest(expected);
        for (int i = 0; i < expected.length; i++) {
            double scale = Math.max(
                    Comparison.NOISE * largest,
                    Arrays.stream(expected[i]).map(Math::abs).max().orElse(0));
            for (int e = 0; e < expected[i].length; e++) {
                double off = Math.abs(expected[i][e] - actual[i][e]);
                if (!(off <= relative * scale) && Double.compare(expected[i][e], actual[i][e]) != 0) {
                    failures.add(String.format(
                            Locale.ROOT,
                            "%s: gradient of %s: %.17g, expected %.17g%n  seed: %dL",
                            wrong,
                            f.inputName(i, e),
                            actual[i][e],
                            expected[i][e],
                            seed));
                    return;
                }
            }
        }
        if (!done.contains(what)) {
            done.add(what);
        }
    }
}
