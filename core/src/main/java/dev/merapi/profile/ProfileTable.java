// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Totals as text. Times in milliseconds. */
final class ProfileTable {
    private static final int MOST_LINES = 60;

    private ProfileTable() {}

    /** A line for each op, node, range and wait. Kernels are a column of their op's. */
    static String byWork(List<Total> totals) {
        Map<String, Total> lines = new LinkedHashMap<>();
        long all = 0;
        for (Total t : totals) {
            all += t.own;
            if (t.kind == Kind.BLOCK) {
                continue; // their ops have the time
            }
            Total line = lines.computeIfAbsent(
                    (t.kind == Kind.KERNEL ? Kind.OP : t.kind) + t.name + t.backward,
                    k -> new Total(t.kind == Kind.KERNEL ? Kind.OP : t.kind, t.name, t.backward, null));
            if (t.kind == Kind.KERNEL) {
                line.own += t.own;
                line.inKernel += t.own;
                line.bytes += t.bytes;
            } else {
                line.calls += t.calls;
                line.own += t.own;
                line.all += t.all;
            }
        }
        List<Total> sorted = new ArrayList<>(lines.values());
        sorted.sort(Comparator.comparingLong((Total t) -> t.own).reversed());
        StringBuilder text = new StringBuilder();
        text.append(String.format(
                Locale.ROOT,
                "%-44s %9s %10s %6s %10s %10s %10s%n",
                "what",
                "calls",
                "own ms",
                "%",
                "kernel ms",
                "with all",
                "made MB"));
        for (Total t : sorted.subList(0, Math.min(MOST_LINES, sorted.size()))) {
            text.append(String.format(
                    Locale.ROOT,
                    "%-44s %9d %10.3f %6.1f %10.3f %10.3f %10.2f%n",
                    label(t),
                    t.calls,
                    t.own / 1e6,
                    100.0 * t.own / Math.max(1, all),
                    t.inKernel / 1e6,
                    t.all / 1e6,
                    t.bytes / 1e6));
        }
        more(text, sorted.size());
        return text.toString();
    }

    /** A line for each layer of the model. */
    static String byPlace(List<Total> totals) {
        record Line(long[] forward, long[] backward, long[] bytes) {}
        Map<String, Line> lines = new LinkedHashMap<>();
        for (Total t : totals) {
            Line line = lines.computeIfAbsent(
                    t.place == null ? "(none)" : t.place, k -> new Line(new long[1], new long[1], new long[1]));
            (t.backward ? line.backward : line.forward)[0] += t.own;
            line.bytes[0] += t.kind == Kind.KERNEL ? t.bytes : 0;
        }
        List<Map.Entry<String, Line>> sorted = new ArrayList<>(lines.entrySet());
        sorted.sort(Comparator.comparingLong(
                        (Map.Entry<String, Line> e) -> e.getValue().forward[0] + e.getValue().backward[0])
                .reversed());
        StringBuilder text = new StringBuilder();
        text.append(
                String.format(Locale.ROOT, "%-44s %12s %12s %10s%n", "layer", "forward ms", "backward ms", "made MB"));
        for (Map.Entry<String, Line> e : sorted.subList(0, Math.min(MOST_LINES, sorted.size()))) {
            Line line = e.getValue();
            text.append(String.format(
                    Locale.ROOT,
                    "%-44s %12.3f %12.3f %10.2f%n",
                    e.getKey(),
                    line.forward[0] / 1e6,
                    line.backward[0] / 1e6,
                    line.bytes[0] / 1e6));
        }
        more(text, sorted.size());
        return text.toString();
    }

    private static void more(StringBuilder text, int lines) {
        if (lines > MOST_LINES) {
            text.append("and ").append(lines - MOST_LINES).append(" more").append(System.lineSeparator());
        }
    }

    private static String label(Total t) {
        return switch (t.kind) {
            case BACKWARD -> "backward of " + t.name;
            case RANGE -> "range: " + t.name;
            case WAIT -> "wait: " + t.name;
            default -> t.backward ? t.name + " in backward" : t.name;
        };
    }
}
