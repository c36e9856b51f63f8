// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** Whether two tensors are the same, to the bit or to rounding. */
final class Comparison {
    /** A gradient that is smaller than this part of the others is the rest of what cancelled. */
    static final double NOISE = 1e-3;

    private Comparison() {}

    /** The largest finite element by size, 0 if there is none. */
    static double largest(double[][] values) {
        return Arrays.stream(values)
                .flatMapToDouble(Arrays::stream)
                .map(Math::abs)
                .filter(Double::isFinite)
                .max()
                .orElse(0);
    }

    /**
     * @param tolerance relative to the largest element; 0 for a multiple of the dtype's epsilon
     * @throws CheckFailedException naming the worst element with both values
     */
    static void agree(String what, Tensor expected, Tensor actual, double tolerance, boolean exactly) {
        if (!expected.describe().equals(actual.describe())) {
            throw new CheckFailedException(what + " is " + actual.describe() + ", expected " + expected.describe());
        }
        if (exactly || !expected.dtype().isFloating()) {
            int at = Arrays.mismatch(bytes(expected), bytes(actual));
            if (at >= 0) {
                int element = at / expected.dtype().byteSize();
                throw new CheckFailedException(what + " differs in element " + element + ": "
                        + actual.toDoubleArray()[element] + ", expected " + expected.toDoubleArray()[element]);
            }
            return;
        }
        double[] a = expected.toDoubleArray();
        double[] b = actual.toDoubleArray();
        double scale =
                Arrays.stream(a).map(Math::abs).filter(Double::isFinite).max().orElse(0);
        double allowed = (tolerance > 0 ? tolerance : allowance(expected.dtype().epsilon())) * scale;
        int worst = -1;
        double most = allowed;
        for (int i = 0; i < a.length; i++) {
            double off = Math.abs(a[i] - b[i]);
            if (Double.compare(a[i], b[i]) != 0 && a[i] != b[i] && !(off <= most)) {
                most = Double.isNaN(off) ? Double.POSITIVE_INFINITY : off;
                worst = i;
            }
        }
        if (worst >= 0) {
            throw new CheckFailedException(what + " differs most in element " + worst + ": " + b[worst] + ", expected "
                    + a[worst] + ", where " + allowed + " is allowed");
        }
    }

    /** Another order of summation, and functions good to a few units: more of them where there are many to spare. */
    private static double allowance(double epsilon) {
        return epsilon * (epsilon > 1e-4 ? 2 : epsilon > 1e-10 ? 32 : 4096);
    }

    private static byte[] bytes(Tensor t) {
        ByteBuffer bytes =
                ByteBuffer.allocate(Math.toIntExact(t.numel() * t.dtype().byteSize()));
        t.copyTo(bytes);
        return bytes.array();
    }
}
