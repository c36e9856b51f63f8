// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.types.DType;
import java.util.SplittableRandom;

/** Contents of tensors: mostly tame, sometimes what arithmetic stumbles over. */
final class Values {
    private static final double[] SPECIAL = {
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        2,
        Double.NaN,
        Double.POSITIVE_INFINITY,
        Double.NEGATIVE_INFINITY,
        1e-30,
        -1e-30,
        1e-40,
        6e-8,
        3e4,
        -7e4,
        1e10,
        -1e20,
        3e38,
        1e-300,
        1e300,
        88.7,
        -104,
        17,
        -17
    };
    private static final long[] SPECIAL_INTEGERS = {
        0,
        1,
        -1,
        2,
        7,
        31,
        32,
        63,
        64,
        127,
        128,
        255,
        256,
        Integer.MAX_VALUE,
        Integer.MIN_VALUE,
        Long.MAX_VALUE,
        Long.MIN_VALUE,
        1L << 24,
        (1L << 53) + 1,
        70000
    };
    private static final double[] NUMBERS = {0, 1, -1, 2, 0.5, 3, -0.25, 1e-3, 10, 0.1, 1.5, -2};

    private Values() {}

    /** Finite, of moderate size: gradients can be compared with differences. */
    static Object tame(SplittableRandom r, DType dtype, int count) {
        if (!dtype.isFloating()) {
            return integers(r, dtype, count, 0);
        }
        double[] values = new double[count];
        for (int i = 0; i < count; i++) {
            values[i] = (Math.round(r.nextDouble(-2, 2) * 4096) + 0.5) / 4096; // no kink lies there
        }
        return values;
    }

    static Object any(SplittableRandom r, DType dtype, int count) {
        int kind = r.nextInt(100);
        if (!dtype.isFloating()) {
            return integers(r, dtype, count, kind);
        }
        if (kind < 55) {
            return tame(r, dtype, count);
        }
        double[] values = new double[count];
        for (int i = 0; i < count; i++) {
            values[i] = kind < 68
                    ? r.nextDouble(0.1, 3)
                    : kind < 76
                            ? r.nextInt(-3, 4)
                            : kind < 84
                                    ? r.nextDouble(-1e4, 1e4)
                                    : kind < 88
                                            ? 1000 + r.nextDouble(-1, 1)
                                            : kind < 92
                                                    ? r.nextDouble(-1, 1) * 1e-4
                                                    : kind < 96 && r.nextInt(4) > 0
                                                            ? r.nextDouble(-2, 2)
                                                            : SPECIAL[r.nextInt(SPECIAL.length)];
        }
        return values;
    }

    private static long[] integers(SplittableRandom r, DType dtype, int count, int kind) {
        long[] values = new long[count];
        for (int i = 0; i < count; i++) {
            values[i] = switch (dtype) {
                case BOOL -> r.nextInt(2);
                case UINT8 -> kind < 80 ? r.nextInt(6) : r.nextInt(256);
                default ->
                    kind < 75
                            ? r.nextInt(-4, 5)
                            : kind < 90
                                    ? r.nextInt(-1000, 1000)
                                    : r.nextInt(2) == 0
                                            ? r.nextInt(5)
                                            : SPECIAL_INTEGERS[r.nextInt(SPECIAL_INTEGERS.length)];
            };
            values[i] = dtype.wrap(values[i]);
        }
        return values;
    }

    /** Indices into a dimension, from its end too; very seldom one beyond it. */
    static long[] indices(SplittableRandom r, long size, int count) {
        long[] values = new long[count];
        boolean wrong = r.nextInt(40) == 0;
        for (int i = 0; i < count; i++) {
            values[i] = size == 0 ? 0 : r.nextLong(-size, size);
        }
        if (wrong && count > 0) {
            values[r.nextInt(count)] = r.nextBoolean() ? size : -size - 1;
        }
        return values;
    }

    static Number number(SplittableRandom r, DType of, boolean tame) {
        if (!of.isFloating() && r.nextInt(10) > 0) {
            return of == DType.BOOL || of == DType.UINT8 ? (Number) r.nextInt(4) : (Number) r.nextInt(-3, 5);
        }
        if (!tame && r.nextInt(40) == 0) {
            return SPECIAL[r.nextInt(9)]; // the others leave the range of float32 on the way, in one backend or both
        }
        double v = NUMBERS[r.nextInt(NUMBERS.length)];
        return v == (int) v && r.nextBoolean() ? (Number) (int) v : (Number) v;
    }
}
