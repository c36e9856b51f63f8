// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.op.Op;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Tries with samples all that usually goes wrong with an op:
 *
 * <pre>{@code OpCheck.of(MY_OP).samples(new Args(x, w, 0.1)).run().orThrow();}</pre>
 *
 * <p>Writes (undeclared ones bit for bit, declared ones that never happen), aliases, unwritten outputs; the shape rule
 * against real results; transposed, offset, strided, expanded, empty, 0-d and odd-sized inputs; the same bits on a second
 * run; gradients of first and second order ({@link GradCheck}; of the inputs that require one, in float64), also on
 * strided and expanded incoming gradients, which may not be written to; the kernel against the plain-Java one, against the
 * composition and against the other devices of this machine; memory that is not given back. One report tells what passed,
 * what failed, and what was skipped and why.
 */
public final class OpCheck<A extends Record, R> {
    private final Op<A, R> op;
    private final List<A> samples = new ArrayList<>();
    private final Map<String, String> skipped = new LinkedHashMap<>();
    private long seed = 20260101L;
    private double tolerance;

    private OpCheck(Op<A, R> op) {
        this.op = op;
    }

    public static <A extends Record, R> OpCheck<A, R> of(Op<A, R> op) {
        return new OpCheck<>(op);
    }

    /** Arguments to try. They are copied before anything is done with them. */
    @SafeVarargs
    public final OpCheck<A, R> samples(A... arguments) {
        samples.addAll(List.of(arguments));
        return this;
    }

    /** As {@link #samples(Record[])}. */
    public OpCheck<A, R> samples(List<A> arguments) {
        samples.addAll(arguments);
        return this;
    }

    /** Leaves a check out, by the name that the report calls it; the reason is printed. */
    public OpCheck<A, R> skip(String check, String reason) {
        skipped.put(check, reason);
        return this;
    }

    /** What random choices start from; printed with failures. */
    public OpCheck<A, R> seed(long newSeed) {
        seed = newSeed;
        return this;
    }

    /** How far kernels may differ, relative to the largest element; by default a small multiple of the dtype's epsilon. */
    public OpCheck<A, R> tolerance(double relative) {
        tolerance = relative;
        return this;
    }

    /** What became of one check. */
    public enum Outcome {
        PASS,
        FAIL,
        SKIP
    }

    /**
     * One line of a report.
     *
     * @param sample index of the sample
     * @param detail what is wrong, or why it was skipped; empty if it passed
     */
    public record Line(Outcome outcome, int sample, String check, String detail) {
        @Override
        public String toString() {
            return outcome + "  sample " + sample + ": " + check
                    + (detail.isEmpty() ? "" : ": " + detail.replace("\n", "\n          "));
        }
    }

    /** All lines, in the order in which they were tried. */
    public record Report(String op, List<Line> lines, long seed) {
        public boolean ok() {
            return count(Outcome.FAIL) == 0;
        }

        public long count(Outcome outcome) {
            return lines.stream().filter(l -> l.outcome() == outcome).count();
        }

        /**
         * This report, if all is well.
         *
         * @throws CheckFailedException with this report as its message, if something failed
         */
        public Report orThrow() {
            if (!ok()) {
                throw new CheckFailedException(toString());
            }
            return this;
        }

        @Override
        public String toString() {
            StringBuilder s = new StringBuilder("opcheck " + op + ": " + count(Outcome.PASS) + " passed, "
                    + count(Outcome.FAIL) + " failed, " + count(Outcome.SKIP) + " skipped");
            lines.forEach(line -> s.append("\n  ").append(line));
            return ok() ? s.toString() : s + "\n  reproduce: OpCheck.of(…).samples(…).seed(" + seed + "L).run()";
        }
    }

    /** Runs all checks on all samples. */
    public Report run() {
        if (samples.isEmpty()) {
            throw new IllegalArgumentException(
                    "opcheck " + op.name() + ": there are no samples\n  fix: add samples(…).");
        }
        List<Line> lines = new ArrayList<>();
        for (int i = 0; i < samples.size(); i++) {
            int sample = i;
            SampleCheck<A, R> checks = new SampleCheck<>(op, samples.get(i), seed, tolerance);
            checks.all().forEach((name, check) -> lines.add(line(sample, name, check)));
        }
        return new Report(op.name(), List.copyOf(lines), seed);
    }

    private Line line(int sample, String name, SampleCheck.Check check) {
        String reason = skipped.getOrDefault(name, skipped.get(name.replaceAll(" on .*", "")));
        if (reason != null) {
            return new Line(Outcome.SKIP, sample, name, reason);
        }
        try {
            check.run();
            return new Line(Outcome.PASS, sample, name, "");
        } catch (SampleCheck.Skip e) {
            return new Line(Outcome.SKIP, sample, name, text(e.getMessage()));
        } catch (RuntimeException e) {
            boolean ours = e instanceof CheckFailedException;
            return new Line(
                    Outcome.FAIL,
                    sample,
                    name,
                    ours ? text(e.getMessage()) : e.getClass().getSimpleName() + ": " + e.getMessage());
        }
    }

    private static String text(@Nullable String message) {
        return message == null ? "" : message;
    }
}
