// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

/** Scalar functions that {@link Math} lacks or defines otherwise than C does. */
final class ScalarMath {
    private static final double LN2 = Math.log(2);
    private static final double SQRT_HALF = Math.sqrt(0.5);

    private ScalarMath() {}

    static double trunc(double x) {
        return x < 0 ? Math.ceil(x) : Math.floor(x);
    }

    static double exp2(double x) {
        return Math.pow(2, x);
    }

    /** Exact at powers of two: the exponent is split off, with a fraction around 1. */
    static double log2(double x) {
        if (!(x > 0) || Double.isInfinite(x)) {
            return Math.log(x);
        }
        double scaled = x < Double.MIN_NORMAL ? x * 0x1p64 : x;
        int exponent = Math.getExponent(scaled);
        double fraction = Math.scalb(scaled, -exponent - 1);
        if (fraction < SQRT_HALF) {
            fraction *= 2;
            exponent--;
        }
        return exponent + 1 - (x < Double.MIN_NORMAL ? 64 : 0) + Math.log(fraction) / LN2;
    }

    static double asinh(double x) {
        double a = Math.abs(x);
        double y = a > 0x1p28 ? Math.log(a) + LN2 : Math.log1p(a + a * a / (1 + Math.sqrt(1 + a * a)));
        return Math.copySign(y, x);
    }

    static double acosh(double x) {
        if (x > 0x1p28) {
            return Math.log(x) + LN2;
        }
        if (x < 1) {
            return Double.NaN;
        }
        double t = x - 1;
        return Math.log1p(t + Math.sqrt(t * (x + 1)));
    }

    static double atanh(double x) {
        double a = Math.abs(x);
        return Math.copySign(0.5 * Math.log1p(2 * a / (1 - a)), x);
    }

    /** As in C: 1 to any power is 1, and so is −1 to an infinite one, where Java says NaN. */
    static double pow(double x, double y) {
        return x == 1 || x == -1 && Double.isInfinite(y) ? 1 : Math.pow(x, y);
    }

    static double rem(double a, double b) {
        double r = a % b;
        return r != 0 && r < 0 != b < 0 ? r + b : r;
    }

    /** The floor of the exact quotient: of the rounded one it may be one too large. */
    static double floorDiv(double a, double b) {
        if (b == 0) {
            return a / b;
        }
        double r = a % b;
        double quotient = (a - r) / b;
        if (r != 0 && r < 0 != b < 0) {
            quotient -= 1;
        }
        if (quotient == 0) {
            return Math.copySign(0, a / b);
        }
        double floor = Math.floor(quotient);
        return quotient - floor > 0.5 ? floor + 1 : floor;
    }

    /** Wraps; negative exponents give 0 unless the base is 1 or −1. */
    static long pow(long base, long exponent) {
        if (exponent < 0) {
            return base == 1 ? 1 : base == -1 ? (exponent & 1) == 0 ? 1 : -1 : 0;
        }
        long result = 1;
        long square = base;
        for (long bits = exponent; bits != 0; bits >>>= 1) {
            if ((bits & 1) != 0) {
                result *= square;
            }
            square *= square;
        }
        return result;
    }
}
