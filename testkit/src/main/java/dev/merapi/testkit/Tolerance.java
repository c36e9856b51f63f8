// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/**
 * How far a result may be from the float64 reference: {@code ulps · eps · √terms} of the scale, in the dtype that the
 * arithmetic is carried out in, and one rounding to the dtype of the result.
 *
 * @param ulps what a single operation may cost; 0 demands the expected number itself
 * @param terms how many numbers are accumulated into one
 * @param roundsEachTerm whether sums are rounded to the dtype of the result each time: they accumulate in a tensor
 */
public record Tolerance(double ulps, double terms, boolean roundsEachTerm) {
    /** The largest error allowed for one element. */
    public double allowed(DType dtype, double expected, double scale) {
        if (ulps == 0) {
            return 0;
        }
        double compute = (roundsEachTerm ? dtype : dtype.computeType()).epsilon();
        double rounding = dtype == dtype.computeType() ? 0 : 0.51 * dtype.epsilon() * Math.abs(expected);
        double size = Math.max(Math.abs(expected), scale);
        return ulps * Math.sqrt(terms) * compute * size + rounding + smallest(dtype);
    }

    private static double smallest(DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> 0x1p-148;
            case FLOAT64 -> 2 * Double.MIN_VALUE;
            case FLOAT16 -> 0x1p-25;
            case BFLOAT16 -> 0x1p-133;
            default -> 0;
        };
    }

    /** @throws AssertionError naming the worst element, with what was expected, got and allowed */
    public void check(String what, Grid expected, @Nullable Grid scale, Tensor actual) {
        if (!java.util.Arrays.equals(expected.shape(), actual.shape().toArray())) {
            throw new AssertionError(
                    what + ": shape " + actual.shape() + ", expected " + java.util.Arrays.toString(expected.shape()));
        }
        DType dtype = actual.dtype();
        double[] got = actual.toDoubleArray();
        double[] want = expected.values();
        double worst = 0;
        int at = -1;
        for (int i = 0; i < got.length; i++) {
            double e = rounded(want[i], dtype);
            if (Double.compare(e, got[i]) == 0 || e == got[i] || Double.isNaN(e) && Double.isNaN(got[i])) {
                continue;
            }
            double s = scale == null ? 0 : Math.abs(scale.values()[i]);
            double off = Math.abs(got[i] - want[i]) / allowed(dtype, want[i], s);
            if (!(off <= 1) && !(off <= worst)) {
                worst = Double.isNaN(off) ? Double.POSITIVE_INFINITY : off;
                at = i;
            }
        }
        if (at >= 0) {
            throw new AssertionError(what + ": element " + at + " of " + actual.describe() + " is " + got[at]
                    + ", expected " + want[at] + ", off by "
                    + (Double.isFinite(worst) ? worst + " times what is allowed" : "more than anything"));
        }
    }

    /** What overflows in the dtype is infinite there, and integers wrap around; the rest is left as it is. */
    private static double rounded(double value, DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> Math.abs(value) > Float.MAX_VALUE ? (float) value : value;
            case FLOAT16 -> Math.abs(value) >= 65520 ? Math.copySign(Double.POSITIVE_INFINITY, value) : value;
            case BFLOAT16 -> Math.abs(value) >= 0x1.ffp127 ? Math.copySign(Double.POSITIVE_INFINITY, value) : value;
            default -> dtype.isIntegral() && value == Math.rint(value) ? dtype.wrap((long) value) : value;
        };
    }
}
