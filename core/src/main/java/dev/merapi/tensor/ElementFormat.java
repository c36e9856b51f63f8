// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.types.DType;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Numbers as text, all of a tensor in one style: whole numbers as {@code 3.}, else four digits, or an exponent. */
final class ElementFormat {
    private static final String WHOLE = "%.0f.";
    private static final String DECIMALS = "%.4f";
    private static final String SCIENTIFIC = "%.4e";
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
            return largest >= LARGE ? SCIENTIFIC : WHOLE;
        }
        boolean wide = largest / smallest > SPREAD && (smallest < SMALL || largest >= 1e5);
        return largest >= LARGE || smallest < SMALL || wide ? SCIENTIFIC : DECIMALS;
    }

    private static String text(double v, String pattern) {
        if (Double.isNaN(v)) {
            return "nan";
        }
        if (Double.isInfinite(v)) {
            return v > 0 ? "inf" : "-inf";
        }
        if (pattern.equals(SCIENTIFIC)) {
            return String.format(Locale.ROOT, pattern, v);
        }
        // As String.format rounds, without its locales: they are what printing a first tensor would wait for.
        String digits = new BigDecimal(Double.toString(Math.abs(v)))
                .setScale(pattern.equals(WHOLE) ? 0 : 4, RoundingMode.HALF_UP)
                .toPlainString();
        return (Math.copySign(1, v) < 0 ? "-" : "") + digits + (pattern.equals(WHOLE) ? "." : "");
    }
}
