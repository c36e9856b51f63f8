// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * How far a device's kernels are from compositions, computed on the device. At its end it prints a line for each family and
 * dtype, in JSON, and fails if a check did: what is wrong in one case says nothing about the next.
 */
final class Errors implements AutoCloseable {
    private static final int MOST_TOLD = 6;

    /** The worst of a family and dtype. */
    private static final class Line {
        private int checks;
        private int failed;
        private double relative;
        private double ofBound;
        private String worst = "";
    }

    private final Map<List<String>, Line> lines = new LinkedHashMap<>();
    private final List<String> failures = new ArrayList<>();

    /**
     * Each element must be as near as its bound says; one that is NaN is not.
     *
     * @param dtype what the line says of it
     * @param expected float64
     * @param bound float64, of the same shape
     */
    void check(String family, String dtype, String what, Tensor expected, Tensor bound, Tensor actual) {
        assertEquals(expected.shape(), actual.shape(), family);
        try (Scope scope = Scope.open()) {
            Tensor difference = actual.to(DType.FLOAT64).sub(expected).abs();
            Tensor share = difference.div(bound.add(Double.MIN_NORMAL)).reshape(-1);
            double ofBound = share.max().item();
            double norm = Math.sqrt(expected.square().sum().item());
            double relative = Math.sqrt(difference.square().sum().item()) / Math.max(norm, Double.MIN_NORMAL);
            Line line = line(family, dtype);
            line.relative = worse(line.relative, relative);
            if (!(ofBound <= line.ofBound)) {
                line.worst = what;
            }
            line.ofBound = worse(line.ofBound, ofBound);
            Tensor good = share.le(1).to(DType.INT64); // NaN is not
            long wrong = good.numel() - good.sum().itemLong();
            if (wrong != 0 || !(ofBound <= 1)) {
                long first = Math.floorMod(good.to(DType.INT32).argmin(0).itemLong(), good.numel());
                line.failed++;
                failures.add(String.format(
                        Locale.ROOT,
                        "%s of %s, %s: %,d of %,d elements are wrong, the first of %s at %,d: %s instead of %s, bound %s",
                        family,
                        dtype,
                        what,
                        wrong,
                        good.numel(),
                        actual.shape(),
                        first,
                        at(actual, first),
                        at(expected, first),
                        at(bound, first)));
            }
        }
    }

    /** Whether all is the same, bit for bit. */
    void same(String family, String dtype, String what, Tensor expected, Tensor actual) {
        Tensor e = expected.to(DType.FLOAT64);
        check(family, dtype, what, e, e.zerosLike(), actual);
    }

    private static double at(Tensor t, long i) {
        return t.reshape(-1).narrow(0, i, 1).to(DType.FLOAT64).sum().item();
    }

    private static double worse(double a, double b) {
        return Double.isNaN(a) || a > b ? a : b;
    }

    private Line line(String family, String dtype) {
        Line line = lines.computeIfAbsent(List.of(family, dtype), key -> new Line());
        line.checks++;
        return line;
    }

    /** A fact without which the checks say nothing. */
    void require(boolean holds, String otherwise) {
        if (!holds) {
            failures.add(otherwise);
        }
    }

    /** What could not be checked. */
    void absent(String family, String dtype, String why) {
        lines.computeIfAbsent(List.of(family, dtype), key -> new Line()).worst = why;
    }

    @Override
    public void close() {
        lines.forEach((key, line) -> System.out.printf(
                Locale.ROOT,
                "{\"sizes\": \"%s\", \"dtype\": \"%s\", \"relative\": %s, \"of_bound\": %s, \"checks\": %d, \"failed\": %d, \"worst\": \"%s\"}%n",
                key.get(0),
                key.get(1),
                json(line.checks, line.relative),
                json(line.checks, line.ofBound),
                line.checks,
                line.failed,
                line.worst));
        if (!failures.isEmpty()) {
            int told = Math.min(MOST_TOLD, failures.size());
            throw new AssertionError(failures.size() + " checks failed:\n"
                    + String.join("\n", failures.subList(0, told)) + (told < failures.size() ? "\n…" : ""));
        }
    }

    private static String json(int checks, double value) {
        return checks == 0 || !Double.isFinite(value) ? "null" : String.format(Locale.ROOT, "%.3g", value);
    }
}
