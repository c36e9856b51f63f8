// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;

/**
 * What arithmetic in a narrow dtype may change. An algorithm is as good as can be if its result is that of inputs which
 * differ in their last place; so the bound is a few of those places of the result, and a few times what the result moves,
 * in wide arithmetic, when the inputs do.
 */
final class Rounding {
    /** How often inputs are moved, each of them at random to one side or the other. */
    static final int TRIES = 3;

    private static final double FACTOR = 8;

    private Rounding() {}

    /** The same with each element moved by the last place of the narrow dtype, in one of the {@link #TRIES}. */
    static Tensor moved(Tensor t, DType narrow, int which, long seed) {
        if (!t.dtype().isFloating()) {
            return OpSample.copy(t);
        }
        SplittableRandom random = new SplittableRandom(seed + which);
        double[] v = t.toDoubleArray();
        for (int i = 0; i < v.length; i++) {
            v[i] *= random.nextBoolean() ? 1 + narrow.epsilon() : 1 - narrow.epsilon();
        }
        return CheckedFunction.tensor(v, t);
    }

    /**
     * @param wide the result in wide arithmetic; each of {@code moved} the same of moved inputs
     * @throws CheckFailedException naming the worst element
     */
    static void agree(String what, double[] wide, List<double[]> moved, double[] found, DType narrow) {
        if (wide.length != found.length) {
            throw new CheckFailedException(
                    what + " has " + found.length + " elements, in a wider dtype " + wide.length);
        }
        double size = 0;
        double spread = 0;
        for (int i = 0; i < wide.length; i++) {
            if (Double.isFinite(wide[i])) {
                size = Math.max(size, Math.abs(wide[i]));
            }
            for (double[] other : moved) {
                double off = Math.abs(other[i] - wide[i]);
                spread = Double.isFinite(off) ? Math.max(spread, off) : spread;
            }
        }
        double least = narrow == DType.FLOAT16 ? 0x1p-22 : narrow.epsilon() * Float.MIN_NORMAL;
        double allowed = FACTOR * (narrow.epsilon() * size + spread) + least;
        int worst = -1;
        double most = allowed;
        for (int i = 0; i < wide.length; i++) {
            if (Double.compare(wide[i], found[i]) == 0 || !Double.isFinite(wide[i]) || overflows(wide[i], narrow)) {
                continue; // what is not finite in any dtype says nothing of this one
            }
            double off = Math.abs(found[i] - wide[i]);
            if (!(off <= most)) {
                most = Double.isNaN(off) ? Double.POSITIVE_INFINITY : off;
                worst = i;
            }
        }
        if (worst >= 0) {
            throw new CheckFailedException(String.format(
                    Locale.ROOT,
                    "%s differs most in element %d: %.9g, in a wider dtype %.9g, where %.3g is allowed",
                    what,
                    worst,
                    found[worst],
                    wide[worst],
                    allowed));
        }
    }

    private static boolean overflows(double value, DType narrow) {
        return Math.abs(value) > (narrow == DType.FLOAT16 ? 60000 : 3e38);
    }
}
