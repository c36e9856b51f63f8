// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import java.util.Arrays;
import java.util.function.Function;

/**
 * Directional derivatives by central differences at three steps with Richardson extrapolation. The error is estimated
 * from how much the extrapolations of two neighbouring levels differ and from the rounding of the values; where it is
 * large (a kink, a pole close by) smaller steps are tried, and the best estimate of each entry counts.
 */
final class NumericalDerivative {
    private static final double[] STEPS = {2e-3, 1e-4, 5e-6};
    private static final double EPS = Math.ulp(1.0);
    /** An estimate this good, relative to the value, needs no smaller step. */
    private static final double GOOD = 2e-9;

    /** Per output the derivative, and how far off it may be. */
    record Estimate(double[] value, double[] error) {}

    private NumericalDerivative() {}

    /**
     * d/dt f(x + t·direction) at 0.
     *
     * @param f from all inputs to all outputs; must not keep or change its argument
     * @param scale what the steps are multiplied by: the size of what is perturbed
     */
    static Estimate along(Function<double[][], double[]> f, double[][] x, int input, double[] direction, double scale) {
        int n = f.apply(x).length;
        double[] value = new double[n];
        double[] error = new double[n];
        Arrays.fill(error, Double.POSITIVE_INFINITY);
        for (double step : STEPS) {
            double h = step * scale;
            Central coarse = central(f, x, input, direction, h);
            Central middle = central(f, x, input, direction, h / 2);
            Central fine = central(f, x, input, direction, h / 4);
            boolean good = true;
            for (int i = 0; i < n; i++) {
                double first = (4 * middle.slope[i] - coarse.slope[i]) / 3;
                double second = (4 * fine.slope[i] - middle.slope[i]) / 3;
                double rounding = 16 * EPS * fine.size[i] / (h / 4);
                double spread = Math.abs(second - first);
                double off = spread + rounding;
                if (off < error[i]) {
                    error[i] = off;
                    value[i] = (16 * second - first) / 15;
                }
                good &= spread <= GOOD * Math.abs(value[i]) + rounding;
            }
            if (good) {
                break;
            }
        }
        return new Estimate(value, error);
    }

    private record Central(double[] slope, double[] size) {}

    private static Central central(
            Function<double[][], double[]> f, double[][] x, int input, double[] direction, double h) {
        double[] above = f.apply(moved(x, input, direction, h));
        double[] below = f.apply(moved(x, input, direction, -h));
        double[] slope = new double[above.length];
        double[] size = new double[above.length];
        for (int i = 0; i < slope.length; i++) {
            slope[i] = (above[i] - below[i]) / (2 * h);
            size[i] = Math.max(Math.abs(above[i]), Math.abs(below[i]));
        }
        return new Central(slope, size);
    }

    private static double[][] moved(double[][] x, int input, double[] direction, double t) {
        double[][] result = x.clone();
        double[] changed = x[input].clone();
        for (int i = 0; i < changed.length; i++) {
            changed[i] += t * direction[i];
        }
        result[input] = changed;
        return result;
    }
}
