// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

/** Activation functions and their derivatives in double, without overflow, with their limits at infinity. */
final class Activations {
    private static final double SQRT_HALF = Math.sqrt(0.5);
    private static final double ONE_OVER_SQRT_TWO_PI = 1 / Math.sqrt(2 * Math.PI);
    private static final double K = Math.sqrt(2 / Math.PI);
    private static final double CUBIC = 0.044715;

    private Activations() {}

    static double sigmoid(double x) {
        if (x >= 0) {
            return 1 / (1 + Math.exp(-x));
        }
        double e = Math.exp(x);
        return e / (1 + e);
    }

    static double softplus(double x) {
        return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    }

    static double logSigmoid(double x) {
        return Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
    }

    static double silu(double x) {
        return x == Double.NEGATIVE_INFINITY ? -0.0 : x * sigmoid(x);
    }

    static double siluGrad(double x) {
        if (Double.isInfinite(x)) {
            return x > 0 ? 1 : 0;
        }
        double s = sigmoid(x);
        return s * (1 + x * (1 - s));
    }

    /** By erfc, which keeps the digits of the left tail. */
    static double gelu(double x) {
        return x == Double.NEGATIVE_INFINITY ? -0.0 : x * 0.5 * ErrorFunction.erfc(-x * SQRT_HALF);
    }

    static double geluGrad(double x) {
        if (Double.isInfinite(x)) {
            return x > 0 ? 1 : 0;
        }
        return 0.5 * ErrorFunction.erfc(-x * SQRT_HALF) + x * ONE_OVER_SQRT_TWO_PI * Math.exp(-0.5 * x * x);
    }

    /** (1 + tanh u)/2 is sigmoid(2u), without the cancellation. */
    static double geluTanh(double x) {
        return x == Double.NEGATIVE_INFINITY ? -0.0 : x * sigmoid(2 * inner(x));
    }

    static double geluTanhGrad(double x) {
        if (Math.abs(x) > 1e3) {
            return x > 0 ? 1 : 0;
        }
        double s = sigmoid(2 * inner(x));
        double slope = K * (1 + 3 * CUBIC * x * x);
        return s + x * 2 * s * (1 - s) * slope;
    }

    private static double inner(double x) {
        return K * (x + CUBIC * x * x * x);
    }
}
