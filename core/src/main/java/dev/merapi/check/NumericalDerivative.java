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
    /** Per output the derivative, and how far off it may be. */
    record Estimate(double[] value, double[] error) {}

    private NumericalDerivative() {}

    /**
     * d/dt f(x + t·direction) at 0.
     *
     * @param f from all inputs to all outputs; must not keep or change its argument
     * @param scale what the steps are multiplied by: the size of what is perturbed
     */
    static Estimate along(
            Precision precision,
            Function<double[][], double[]> f,
            double[][] x,
            int input,
            double[] direction,
            double scale) {
        double[] at = f.apply(x);
        int n = at.length;
        double[] value = new double[n];
        double[] error = new double[n];
        Arrays.fill(error, Double.POSITIVE_INFINITY);
        for (double step : precision.steps) {
            double h = step * scale;
            Central coarse = central(f, x, input, direction, h);
            Central middle = central(f, x, input, direction, h / 2);
            Central fine = central(f, x, input, direction, h / 4);
            boolean good = true;
            for (int i = 0; i < n; i++) {
                double first = (4 * middle.slope[i] - coarse.slope[i]) / 3;
                double second = (4 * fine.slope[i] - middle.slope[i]) / 3;
                double rounding = 16 * precision.dtype.epsilon() * fine.size[i] / (h / 4);
                double spread = Math.abs(second - first);
                double off = spread + rounding + kink(at[i], coarse, fine, i, h, rounding, second);
                if (off < error[i]) {
                    error[i] = off;
                    value[i] = (16 * second - first) / 15;
                }
                good &= spread <= precision.good * Math.abs(value[i]) + rounding;
            }
            if (good) {
                break;
            }
        }
        return new Estimate(value, error);
    }

    /** How far the slopes of the two sides are apart, if they stay so when the step gets smaller; else 0. */
    private static double kink(
            double at, Central coarse, Central fine, int i, double h, double rounding, double slope) {
        double far = Math.abs(coarse.sum[i] - 2 * at) / h;
        double near = Math.abs(fine.sum[i] - 2 * at) / (h / 4);
        return near > 0.5 * far && near > 1e-2 * Math.abs(slope) + 4 * rounding ? near : 0;
    }

    private record Central(double[] slope, double[] size, double[] sum) {}

    private static Central central(
            Function<double[][], double[]> f, double[][] x, int input, double[] direction, double h) {
        double[] above = f.apply(moved(x, input, direction, h));
        double[] below = f.apply(moved(x, input, direction, -h));
        double[] slope = new double[above.length];
        double[] size = new double[above.length];
        double[] sum = new double[above.length];
        for (int i = 0; i < slope.length; i++) {
            slope[i] = (above[i] - below[i]) / (2 * h);
            sum[i] = above[i] + below[i];
            size[i] = Math.max(Math.abs(above[i]), Math.abs(below[i]));
        }
        return new Central(slope, size, sum);
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
