// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.List;
import java.util.function.Function;

/**
 * Of tests that are too dear to run whole each time: a part that changes with the day (UTC), so that all have run after a
 * few days. {@code scripts/test --full} ({@code -Dmerapi.tests.full=true}) runs all; {@code -Dmerapi.tests.day=N} runs the
 * part of another day, counted from 1970.
 */
public final class Rotation {
    private Rotation() {}

    public static boolean isFull() {
        return Boolean.getBoolean("merapi.tests.full");
    }

    private static long day() {
        return Long.getLong("merapi.tests.day", LocalDate.now(ZoneOffset.UTC).toEpochDay());
    }

    /**
     * Today's part of {@code all}, in their order; prints which it is.
     *
     * @param what the name of the tests, for the line that is printed
     * @param name what stays together and decides on the day, such as an op's name
     */
    public static <T> List<T> today(String what, List<T> all, Function<T, String> name, int parts) {
        if (isFull()) {
            return all;
        }
        long part = Math.floorMod(day(), parts);
        List<T> chosen = all.stream()
                .filter(t -> Math.floorMod(mixed(name.apply(t)), parts) == part)
                .toList();
        System.out.println(what + ": part " + (part + 1) + " of " + parts + ", " + chosen.size() + " of " + all.size()
                + "; scripts/test --full runs all, -Dmerapi.tests.day=" + day() + " this one");
        return chosen;
    }

    /** Hash codes of names that differ in the last letter are neighbours: these are not. */
    private static int mixed(String name) {
        int h = name.hashCode() * 0x9e3779b9;
        return h ^ h >>> 15;
    }
}
