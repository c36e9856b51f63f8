// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/** Contents of tensors as a number, and as Java values; every NaN counts as the same. */
final class Bits {
    private Bits() {}

    /** Zeros count as the same too. */
    static long withoutSigns(@Nullable Tensor[] tensors) {
        return of(tensors, false);
    }

    static long of(@Nullable Tensor[] tensors) {
        return of(tensors, true);
    }

    private static long of(@Nullable Tensor[] tensors, boolean signs) {
        long hash = 1;
        for (Tensor t : tensors) {
            hash = hash * 0x9e3779b97f4a7c15L + (t == null ? 7 : of(t, signs));
            hash ^= hash >>> 31;
        }
        return hash;
    }

    private static long of(Tensor t, boolean signs) {
        long hash = t.dtype().shortName().hashCode();
        for (int d = 0; d < t.rank(); d++) {
            hash = hash * 31 + t.size(d) + 1;
        }
        if (!readable(t)) {
            return hash;
        }
        if (t.dtype().isFloating()) {
            for (double v : doubles(t)) {
                hash = (hash ^ Double.doubleToLongBits(v == 0 && !signs ? 0.0 : v)) * 0xbf58476d1ce4e5b9L;
                hash ^= hash >>> 29;
            }
        } else {
            for (long v : longs(t)) {
                hash = (hash ^ v) * 0xbf58476d1ce4e5b9L;
                hash ^= hash >>> 29;
            }
        }
        return hash;
    }

    static boolean readable(Tensor t) {
        return !t.isMeta() && !t.isClosed();
    }

    static double[] doubles(Tensor t) {
        if (!visible(t)) {
            return t.toDoubleArray();
        }
        double[] values = new double[(int) t.numel()];
        if (values.length > 0) {
            Elements e = Elements.of(t);
            for (int i = 0; i < values.length; i++) {
                values[i] = e.getDouble(i);
            }
        }
        return values;
    }

    static long[] longs(Tensor t) {
        if (!visible(t)) {
            return t.toLongArray();
        }
        long[] values = new long[(int) t.numel()];
        if (values.length > 0) {
            Elements e = Elements.of(t);
            for (int i = 0; i < values.length; i++) {
                values[i] = e.getLong(i);
            }
        }
        return values;
    }

    private static boolean visible(Tensor t) {
        return BackendChoice.allocator(t.device()).isJavaVisible();
    }

    /** The nearest number that a dtype has. */
    static double rounded(double v, DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> (float) v;
            case FLOAT64 -> v;
            case FLOAT16, BFLOAT16 -> dev.merapi.types.SmallFloat.round(v, dtype);
            default -> v;
        };
    }
}
