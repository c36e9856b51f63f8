// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * How much is recorded about where memory comes from: {@code -Dmerapi.leakDetection=off|simple|paranoid}.
 * Off costs nothing; simple records the origin of one storage in 128, paranoid of all.
 */
public enum LeakDetection {
    OFF,
    SIMPLE,
    PARANOID;

    private static volatile LeakDetection level =
            valueOf(System.getProperty("merapi.leakDetection", "off").toUpperCase(Locale.ROOT));
    private static int counter;

    public static LeakDetection level() {
        return level;
    }

    public static void setLevel(LeakDetection newLevel) {
        level = newLevel;
    }

    /** A throwable that remembers this place, or null if the level says not to. */
    static @Nullable Throwable origin() {
        LeakDetection l = level;
        if (l == OFF || l == SIMPLE && (counter++ & 127) != 0) { // racy on purpose: it is a sample
            return null;
        }
        return new Throwable("origin");
    }

    /** The first frame outside of the engine. */
    static String describe(Throwable origin) {
        for (StackTraceElement e : origin.getStackTrace()) {
            if (!e.getClassName().startsWith("dev.merapi.") || e.getClassName().startsWith("dev.merapi.examples")) {
                return e.toString();
            }
        }
        StackTraceElement[] trace = origin.getStackTrace();
        return trace.length == 0 ? "unknown" : trace[trace.length - 1].toString();
    }
}
