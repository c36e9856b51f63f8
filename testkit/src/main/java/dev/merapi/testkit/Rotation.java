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
        say(what, part, parts, chosen.size() + " of " + all.size());
        return chosen;
    }

    /** As above, of tests whose order says which belong together: today's of so many runs of neighbours. */
    public static <T> List<T> slice(String what, List<T> all, int parts) {
        if (isFull()) {
            return all;
        }
        int part = (int) Math.floorMod(day(), (long) parts);
        List<T> chosen = all.subList(all.size() * part / parts, all.size() * (part + 1) / parts);
        say(what, part, parts, chosen + "");
        return chosen;
    }

    /** Whether a single test has its turn, of those that are too small to be listed. */
    public static boolean isToday(String name, int parts) {
        return isFull() || Math.floorMod(mixed(name), parts) == Math.floorMod(day(), (long) parts);
    }

    private static void say(String what, long part, int parts, String chosen) {
        System.out.println(what + ": part " + (part + 1) + " of " + parts + ", " + chosen
                + "; scripts/test --full runs all, -Dmerapi.tests.day=" + day() + " this one");
    }

    /** Hash codes of names that differ in the last letter are neighbours: these are not. */
    private static int mixed(String name) {
        int h = name.hashCode() * 0x9e3779b9;
        return h ^ h >>> 15;
    }
}
