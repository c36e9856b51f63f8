// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.types.DType;
import java.util.Comparator;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** The dtypes by kind, from the table: one that is new there is tested wherever its kind is. Usual ones stand first. */
public final class Kinds {
    private static final List<DType> FIRST = List.of(DType.FLOAT32, DType.FLOAT64);

    private Kinds() {}

    /** float32, float64, and then the smaller ones. */
    public static DType[] floats() {
        return those(DType::isFloating);
    }

    /** Of 64 bits first; bool is not one of them. */
    public static DType[] integers() {
        return those(DType::isIntegral);
    }

    /** Floats, then integers. */
    public static DType[] numbers() {
        return join(floats(), integers());
    }

    /** Numbers, then bool. */
    public static DType[] all() {
        return join(numbers(), those(d -> d.kind() == DType.Kind.BOOLEAN));
    }

    /** Whether it is an integer dtype that shares its registers, and most of its code, with int32 and uint8. */
    static boolean isSmallInteger(DType dtype) {
        return dtype == DType.INT8 || dtype == DType.INT16;
    }

    private static DType[] those(Predicate<DType> kind) {
        Comparator<DType> order = Comparator.comparing(d -> FIRST.contains(d) ? FIRST.indexOf(d) : FIRST.size());
        return Stream.of(DType.values())
                .filter(kind)
                .sorted(order.thenComparing(DType::byteSize, Comparator.reverseOrder()))
                .toArray(DType[]::new);
    }

    private static DType[] join(DType[] a, DType[] b) {
        return Stream.concat(Stream.of(a), Stream.of(b)).toArray(DType[]::new);
    }
}
