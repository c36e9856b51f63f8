// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Numbers as text, all of a tensor in one style: whole numbers as {@code 3.}, else four digits, or an exponent. */
final class ElementFormat {
    private static final double LARGE = 1e8;
    private static final double SMALL = 1e-4;
    private static final double SPREAD = 1e3;

    private ElementFormat() {}

    static List<String> texts(DType dtype, Number[] values) {
        List<String> texts = new ArrayList<>(values.length);
        if (!dtype.isFloating()) {
            for (Number v : values) {
                texts.add(dtype == DType.BOOL ? String.valueOf(v.longValue() != 0) : v.toString());
            }
            return texts;
        }
        String pattern = pattern(values);
        for (Number v : values) {
            texts.add(text(v.doubleValue(), pattern));
        }
        return texts;
    }

    /** The pattern for all: whole numbers, four decimals, or scientific where that would hide digits. */
    private static String pattern(Number[] values) {
        double largest = 0;
        double smallest = Double.POSITIVE_INFINITY;
        boolean whole = true;
        for (Number v : values) {
            double m = Math.abs(v.doubleValue());
            if (m != 0 && m <= Double.MAX_VALUE) {
                largest = Math.max(largest, m);
                smallest = Math.min(smallest, m);
                whole &= m == Math.rint(m);
            }
        }
        if (whole) {
            return largest >= LARGE ? "%.4e" : "%.0f.";
        }
        boolean wide = largest / smallest > SPREAD && (smallest < SMALL || largest >= 1e5);
        return largest >= LARGE || smallest < SMALL || wide ? "%.4e" : "%.4f";
    }

    private static String text(double v, String pattern) {
        if (Double.isNaN(v)) {
            return "nan";
        }
        if (Double.isInfinite(v)) {
            return v > 0 ? "inf" : "-inf";
        }
        return String.format(Locale.ROOT, pattern, v);
    }
}
