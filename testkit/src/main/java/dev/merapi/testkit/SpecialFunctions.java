// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

/** Functions that {@code Math} lacks, by series and continued fractions; slow, and good to a few units of float64. */
final class SpecialFunctions {
    private SpecialFunctions() {}

    static double softplus(double x) {
        return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    }

    static double log2(double x) {
        return Math.log(x) / Math.log(2);
    }

    static double asinh(double x) {
        double a = Math.abs(x);
        return Math.copySign(Math.log1p(a + a * a / (1 + Math.sqrt(1 + a * a))), x);
    }

    static double acosh(double x) {
        return Math.log1p((x - 1) + Math.sqrt((x - 1) * (x + 1)));
    }

    static double atanh(double x) {
        return 0.5 * Math.log1p(2 * x / (1 - x));
    }

    static double erf(double x) {
        if (Double.isNaN(x) || x == 0) {
            return x;
        }
        return Math.abs(x) < 1.5 ? series(x) : Math.copySign(1 - fraction(Math.abs(x)), x);
    }

    static double erfc(double x) {
        if (Double.isNaN(x)) {
            return x;
        }
        return x < 1 ? 1 - erf(x) : fraction(x);
    }

    /** 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms of one sign. */
    private static double series(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }
        return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
    }

    /** e^(−x²)/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …)))), for x from 1. */
    private static double fraction(double x) {
        if (x > 27) {
            return 0;
        }
        double f = x;
        for (int k = 400; k >= 1; k--) {
            f = x + k / 2.0 / f;
        }
        return Math.exp(-x * x) / Math.sqrt(Math.PI) / f;
    }
}
