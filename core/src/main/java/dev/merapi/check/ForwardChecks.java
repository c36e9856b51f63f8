// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.error.ShapeException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;

/**
 * An op's forward mode: for each input alone against central differences; for all together against the sum of those, and
 * against the backward, by ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩; the latter at other sizes too.
 */
final class ForwardChecks<A extends Record, R> {
    private static final double LINEAR = 1e-9; // of the sum of sizes: what another order of operations may change

    private final OpSample<A, R> sample;
    private final GradientChecks<A, R> gradients;

    ForwardChecks(OpSample<A, R> sample) {
        this.sample = sample;
        this.gradients = new GradientChecks<>(sample);
    }

    String forward() {
        GradientChecks.Ready<A, R> ready = gradients.ready(sample);
        CheckedFunction f = GradientChecks.function(ready.sample());
        f.preservingRandomState(() -> {
            try {
                double[][] directions = directions(f, sample.seed);
                double[] together = f.jvp(directions);
                double[] sum = new double[together.length];
                double[] sizes = new double[together.length];
                for (int i = 0; i < directions.length; i++) {
                    if (directions[i].length > 0) {
                        double[] alone = againstDifferences(f, i, directions[i], ready.precision());
                        for (int k = 0; k < sum.length; k++) {
                            sum[k] += alone[k];
                            sizes[k] += Math.abs(alone[k]);
                        }
                    }
                }
                linear(f, sum, sizes, together, ready.precision());
                adjoint("", f, directions, together, ready.precision());
            } catch (GradientException | MissingBackwardException e) {
                throw refused(e);
            }
        });
        List<String> sizes = new ArrayList<>();
        for (OpSample<A, R> other : gradients.resized()) {
            String form = SizeChecks.sizes(other);
            if (!sizes.contains(form) && !form.equals(SizeChecks.sizes(sample)) && atSize(other, form)) {
                sizes.add(form);
            }
        }
        return sizes.isEmpty() ? "" : "beside the backward at " + String.join("; ", sizes);
    }

    private boolean atSize(OpSample<A, R> other, String form) {
        try {
            GradientChecks.Ready<A, R> ready = gradients.ready(other);
            CheckedFunction f = GradientChecks.function(ready.sample());
            f.preservingRandomState(() -> {
                double[][] directions = directions(f, sample.seed);
                adjoint("with inputs " + form + ": ", f, directions, f.jvp(directions), ready.precision());
            });
            return true;
        } catch (ShapeException | DTypeException | NotChecked e) {
            return false; // the op does not take that size
        }
    }

    /** An op may say no, as long as it names itself; what it says is in the report. */
    private RuntimeException refused(RuntimeException e) {
        if (e instanceof SavedTensorException || !String.valueOf(e.getMessage()).contains("::")) {
            return e;
        }
        return new NotChecked("refused: " + ValueChecks.firstLine(e));
    }

    private static double[][] directions(CheckedFunction f, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        double[][] x = f.values();
        return Arrays.stream(x)
                .map(values -> random.doubles(values.length, 0.5, 1)
                        .map(d -> random.nextBoolean() ? d : -d)
                        .toArray())
                .toArray(double[][]::new);
    }

    private static double[] againstDifferences(CheckedFunction f, int input, double[] direction, Precision precision) {
        double[][] alone = new double[f.values().length][];
        Arrays.setAll(alone, i -> i == input ? direction : new double[0]);
        double[] found = f.jvp(alone);
        NumericalDerivative.Estimate d =
                NumericalDerivative.along(precision, f::evaluate, f.values(), input, direction, 1);
        for (int k = 0; k < found.length; k++) {
            double expected = d.value()[k];
            double size = Math.max(Math.abs(expected), Math.abs(found[k]));
            boolean reliable =
                    Double.isFinite(expected) && d.error()[k] <= precision.unreliable * Math.max(size, precision.noise);
            if (reliable && !(Math.abs(expected - found[k]) <= precision.relative * size + 2 * d.error()[k])) {
                throw new CheckFailedException(String.format(
                        Locale.ROOT,
                        "forward mode disagrees with finite differences: d %s / d %s: numerical %.17g, jvp %.17g",
                        f.outputName(k),
                        f.inputName(input, -1),
                        expected,
                        found[k]));
            }
        }
        return found;
    }

    /** The tangents of several inputs add up. */
    private static void linear(
            CheckedFunction f, double[] sum, double[] sizes, double[] together, Precision precision) {
        double relative = Math.max(LINEAR, precision.rounding);
        for (int k = 0; k < sum.length; k++) {
            double off = Math.abs(sum[k] - together[k]);
            if (!(off <= relative * sizes[k]) && Double.compare(sum[k], together[k]) != 0) {
                throw new CheckFailedException(String.format(
                        Locale.ROOT,
                        "forward mode is not linear in the tangents: %s moves by %.17g, the inputs one by one by %.17g",
                        f.outputName(k),
                        together[k],
                        sum[k]));
            }
        }
    }

    private static void adjoint(
            String where, CheckedFunction f, double[][] directions, double[] pushed, Precision precision) {
        SplittableRandom random = new SplittableRandom(7);
        double[] v = random.doubles(pushed.length, -1, 1).toArray();
        double[][] pulled = f.vjp(v);
        double forward = 0;
        double reverse = 0;
        double size = 0;
        for (int k = 0; k < v.length; k++) {
            forward += v[k] * pushed[k];
            size += Math.abs(v[k] * pushed[k]);
        }
        for (int i = 0; i < pulled.length; i++) {
            for (int e = 0; e < pulled[i].length; e++) {
                reverse += pulled[i][e] * directions[i][e];
                size += Math.abs(pulled[i][e] * directions[i][e]);
            }
        }
        double relative = Math.max(LINEAR, precision.rounding);
        if (!(Math.abs(forward - reverse) <= relative * size) && Double.compare(forward, reverse) != 0) {
            throw new CheckFailedException(String.format(
                    Locale.ROOT,
                    "%sforward and reverse mode disagree: <v, J u> = %.17g, <J^T v, u> = %.17g",
                    where,
                    forward,
                    reverse));
        }
    }
}
