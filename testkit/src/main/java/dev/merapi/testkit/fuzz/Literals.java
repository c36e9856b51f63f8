// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Values as Java source. */
final class Literals {
    private Literals() {}

    static String of(double v) {
        if (Double.isNaN(v)) {
            return "Double.NaN";
        }
        if (Double.isInfinite(v)) {
            return v > 0 ? "Double.POSITIVE_INFINITY" : "Double.NEGATIVE_INFINITY";
        }
        return Double.toString(v);
    }

    static String of(long v) {
        return v == Long.MIN_VALUE ? "Long.MIN_VALUE" : v == (int) v ? Long.toString(v) : v + "L";
    }

    static String of(@Nullable Object v) {
        if (v == null) {
            return "null";
        }
        if (v instanceof Double d) {
            return of(d.doubleValue());
        }
        if (v instanceof Long n) {
            return n == n.intValue() ? n + "L" : of(n.longValue());
        }
        if (v instanceof Here) {
            return "DEVICE";
        }
        if (v instanceof DType t) {
            return "DType." + t.name();
        }
        if (v instanceof Shape s) {
            return "Shape.of(" + Arrays.toString(s.toArray()).replaceAll("[\\[\\]]", "") + ")";
        }
        if (v instanceof int[] a) {
            return "new int[] {" + Arrays.toString(a).replaceAll("[\\[\\]]", "") + "}";
        }
        if (v instanceof long[] a) {
            return "new long[] {" + Arrays.stream(a).mapToObj(Literals::of).collect(Collectors.joining(", ")) + "}";
        }
        if (v instanceof double[] a) {
            return "new double[] {" + Arrays.stream(a).mapToObj(Literals::of).collect(Collectors.joining(", ")) + "}";
        }
        if (v instanceof List<?> list) {
            String all = list.stream().map(Literals::of).collect(Collectors.joining(", "));
            return list.stream().anyMatch(java.util.Objects::isNull)
                    ? "Arrays.asList(" + all + ")"
                    : "List.of(" + all + ")";
        }
        if (v instanceof Enum<?> e) {
            return type(e.getDeclaringClass()) + "." + e.name();
        }
        return v instanceof String s ? "\"" + s + "\"" : String.valueOf(v);
    }

    /** A class by the name that a program with imports of the whole package uses. */
    static String type(Class<?> c) {
        return c.getName().substring(c.getPackageName().length() + 1).replace('$', '.');
    }
}
