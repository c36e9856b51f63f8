// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

/**
 * erf and erfc in double, within a few ulp. Below 1, erf's Taylor series; elsewhere erfc(x) = exp(−x²) s(x) / (x + 3), where
 * s is smooth in (x − 3)/(x + 3), which maps all of x ≥ 0 to [−1, 1), and is expanded in Chebyshev polynomials.
 */
final class ErrorFunction {
    /** 2/√π · (−1)ⁿ / (n! (2n + 1)) */
    private static final double[] TAYLOR = taylor();

    private static final double[] CHEBYSHEV = {
        1.413438223980872,
        -1.1314768490746974,
        0.35410810034248635,
        -0.08508704009908545,
        0.014615273272816639,
        -0.0013795571636296329,
        -6.429066714315945e-05,
        3.9043421097724045e-05,
        -2.642785074856054e-06,
        -8.239440143910853e-07,
        1.3247975697671355e-07,
        1.919522515672645e-08,
        -5.030507163745393e-09,
        -5.842006410267007e-10,
        1.8742323910408168e-10,
        2.4373672656733487e-11,
        -6.990943839667697e-12,
        -1.2573115617676e-12,
        2.458000580643909e-13,
        7.005741632378779e-14,
        -6.732775694749609e-15,
        -3.843430589415152e-15,
        3.3163748896188907e-18,
        1.9337385406947118e-16,
        1.957552792661546e-17
    };

    private ErrorFunction() {}

    static double erf(double x) {
        double a = Math.abs(x);
        if (a < 1) {
            return series(x);
        }
        return Math.copySign(a > 6 ? 1 : 1 - tail(a), x) + (x != x ? x : 0);
    }

    static double erfc(double x) {
        if (x < 0.5) {
            return x < -6 ? 2 : x < -1 ? 2 - tail(-x) : 1 - series(x);
        }
        return x > 28 ? 0 : x != x ? x : tail(x);
    }

    private static double series(double x) {
        double squared = x * x;
        double sum = 0;
        for (int n = TAYLOR.length - 1; n >= 0; n--) {
            sum = sum * squared + TAYLOR[n];
        }
        return sum * x;
    }

    /** erfc for x ≥ 0.5. */
    private static double tail(double x) {
        double t = (x - 3) / (x + 3);
        double next = 0;
        double afterNext = 0;
        for (int k = CHEBYSHEV.length - 1; k > 0; k--) {
            double current = 2 * t * next - afterNext + CHEBYSHEV[k];
            afterNext = next;
            next = current;
        }
        double smooth = t * next - afterNext + CHEBYSHEV[0];
        // The rounding error of x², of up to 10^-13 for large x, would be exp's relative error: it is put back.
        double squared = x * x;
        double error = Math.fma(x, x, -squared);
        return Math.exp(-squared) * (1 - error) * smooth / (x + 3);
    }

    private static double[] taylor() {
        double[] terms = new double[20];
        double term = 2 / Math.sqrt(Math.PI);
        for (int n = 0; n < terms.length; n++) {
            terms[n] = term / (2 * n + 1);
            term = -term / (n + 1);
        }
        return terms;
    }
}
