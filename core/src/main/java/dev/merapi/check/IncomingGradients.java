// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.check.CheckedFunction.Form;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;

/** How a backward treats the gradients that come in: any layout, zeros, absent ones, twice the same. */
final class IncomingGradients {
    /** What other summation orders may change. */
    private static final double ROUNDING = 1e-11;

    private final CheckedFunction f;
    private final long seed;

    IncomingGradients(CheckedFunction f, long seed) {
        this.f = f;
        this.seed = seed;
    }

    void check(List<String> done, List<String> failures) {
        int m = f.outputCount();
        double[] v = new SplittableRandom(seed).doubles(m, -1, 1).toArray();
        double[][] dense = f.vjp(v);
        report(
                "backward is re-entrant",
                "a second backward gives another gradient",
                dense,
                f.vjp(v),
                0,
                done,
                failures);
        double[][] none = new double[dense.length][];
        for (int i = 0; i < none.length; i++) {
            none[i] = new double[dense[i].length];
        }
        report(
                "zeros give zeros",
                "a gradient of zeros gives a gradient that is not zero: backward does not multiply by what comes in",
                none,
                f.vjp(new double[m]),
                0,
                done,
                failures);
        report(
                "strided gradients",
                "a strided incoming gradient gives another result than a dense one",
                dense,
                f.vjp(v, k -> true, Form.STRIDED),
                ROUNDING,
                done,
                failures);
        report(
                "gradients with an offset",
                "an incoming gradient with an offset gives another result",
                dense,
                f.vjp(v, k -> true, Form.OFFSET),
                ROUNDING,
                done,
                failures);
        double[] same = new double[m];
        for (int k = 0; k < f.outputs(); k++) {
            Arrays.fill(same, f.start(k), f.start(k) + f.size(k), f.size(k) == 0 ? 0 : v[f.start(k)]);
        }
        report(
                "expanded gradients",
                "an expanded incoming gradient gives another result than a dense one",
                f.vjp(same),
                f.vjp(same, k -> true, Form.EXPANDED),
                ROUNDING,
                done,
                failures);
        for (int k = 0; k < f.outputs() && f.outputs() > 1; k++) {
            int absent = k;
            double[] without = v.clone();
            Arrays.fill(without, f.start(k), f.start(k) + f.size(k), 0);
            report(
                    "no gradient for output " + k,
                    "an absent gradient of output " + k + " gives another result than zeros",
                    f.vjp(without),
                    f.vjp(without, i -> i != absent, Form.DENSE),
                    ROUNDING,
                    done,
                    failures);
        }
    }

    private void report(
            String what,
            String wrong,
            double[][] expected,
            double[][] actual,
            double relative,
            List<String> done,
            List<String> failures) {
        for (int i = 0; i < expected.length; i++) {
            double scale = Arrays.stream(expected[i]).map(Math::abs).max().orElse(0);
            for (int e = 0; e < expected[i].length; e++) {
                double off = Math.abs(expected[i][e] - actual[i][e]);
                if (!(off <= relative * scale) && Double.compare(expected[i][e], actual[i][e]) != 0) {
                    failures.add(String.format(
                            Locale.ROOT,
                            "%s: %s: %.17g, expected %.17g%n  seed: %dL",
                            wrong,
                            f.inputName(i, e),
                            actual[i][e],
                            expected[i][e],
                            seed));
                    return;
                }
            }
        }
        done.add(what);
    }
}
