// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.op.Op;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Tries with samples all that usually goes wrong with an op:
 *
 * <pre>{@code OpCheck.of(MY_OP).samples(new Args(x, w, 0.1)).run().orThrow();}</pre>
 *
 * <p>Writes (undeclared ones bit for bit, declared ones that never happen), aliases, unwritten outputs; the shape rule
 * against real results; the same bits on a second run and from several threads; transposed, offset, strided, expanded,
 * empty, 0-d, one-element, odd-sized and absent inputs, and one tensor for two of them; other floating dtypes within what
 * their rounding explains; autocast; gradients of first and second order ({@link GradCheck}; of the inputs that require
 * one, in float64, or in float32 if the op takes nothing wider), at other sizes, in other dtypes and layouts, of some
 * inputs only, and on strided and expanded incoming gradients, which may not be written to; forward mode against finite
 * differences and against the backward; the kernel against the
 * plain-Java one, the composition, {@link #expecting} and the other devices of this machine; memory that is not given back.
 *
 * <p>One report tells what passed, what failed, and what was not checked and why: a report without failures says no more
 * than its lines do.
 *
 * @param <A> the op's arguments
 * @param <R> its result
 */
public final class OpCheck<A extends Record, R> {
    private final Op<A, R> op;
    private final List<A> samples = new ArrayList<>();
    private final Map<String, String> skipped = new LinkedHashMap<>();
    private long seed = 20260101L;
    private double tolerance;
    private boolean large;
    private List<String> only = List.of();
    private @Nullable Function<A, R> expecting;

    private OpCheck(Op<A, R> op) {
        this.op = op;
    }

    /**
     * Begins a check of an op.
     *
     * @param <A> the record of arguments
     * @param <R> the result
     * @param op what is checked, with all that is registered for it now
     * @return a check, to be given samples
     */
    public static <A extends Record, R> OpCheck<A, R> of(Op<A, R> op) {
        Objects.requireNonNull(op, "op");
        return new OpCheck<>(op);
    }

    /** {@return the op that is checked} */
    public Op<A, R> op() {
        return op;
    }

    /**
     * Arguments to try. They are copied before anything is done with them.
     *
     * @param arguments at least one record of arguments; their tensors may require gradients
     * @return this
     */
    @SafeVarargs
    public final OpCheck<A, R> samples(A... arguments) {
        Objects.requireNonNull(arguments, "arguments");
        samples.addAll(List.of(arguments));
        return this;
    }

    /**
     * As {@link #samples(Record[])}.
     *
     * @param arguments at least one record of arguments
     * @return this
     */
    public OpCheck<A, R> samples(List<A> arguments) {
        Objects.requireNonNull(arguments, "arguments");
        samples.addAll(arguments);
        return this;
    }

    /**
     * Leaves a check out, by the name that the report calls it, or all that begin with these words; the reason is printed.
     *
     * @param check such as {@code "layouts"}
     * @param reason why it does not apply here
     * @return this
     * @throws IllegalArgumentException if there is no such check
     */
    public OpCheck<A, R> skip(String check, String reason) {
        requireName(check);
        skipped.put(check, reason);
        return this;
    }

    /**
     * What random choices start from; printed with failures.
     *
     * @param newSeed any number
     * @return this
     */
    public OpCheck<A, R> seed(long newSeed) {
        seed = newSeed;
        return this;
    }

    /**
     * How far kernels may differ, relative to the largest element; by default a small multiple of the dtype's epsilon.
     *
     * @param relative greater than 0
     * @return this
     */
    public OpCheck<A, R> tolerance(double relative) {
        tolerance = relative;
        return this;
    }

    /**
     * What the result must be, written in any other way: with other ops, or element by element. A kernel that has no plain
     * Java one beside it, no composition and no other device is otherwise held against its gradient only.
     *
     * @param result takes arguments, returns what the op must
     * @return this
     */
    public OpCheck<A, R> expecting(Function<A, R> result) {
        expecting = result;
        return this;
    }

    /**
     * Tries more than a million elements, too.
     *
     * @return this
     */
    public OpCheck<A, R> large() {
        large = true;
        return this;
    }

    /**
     * Makes these checks only, by the names that reports call them.
     *
     * @param checks at least one name
     * @return this
     * @throws IllegalArgumentException if there is no such check
     */
    public OpCheck<A, R> only(String... checks) {
        for (String check : Objects.requireNonNull(checks, "checks")) {
            requireName(check);
        }
        only = List.of(checks);
        return this;
    }

    private void requireName(String check) {
        if (Objects.requireNonNull(check, "check").isBlank() || !SampleCheck.isName(check)) {
            throw new IllegalArgumentException("opcheck " + op.name() + ": there is no check '" + check
                    + "'\n  fix: one of " + SampleCheck.names());
        }
    }

    /** What became of one check. */
    public enum Outcome {
        /** What was tried is as it should be. */
        PASS("passed"),
        /** What was tried is not as it should be. */
        FAIL("FAILED"),
        /** Something is in the way, there is nothing of the kind to check, or it was left out. */
        NOT_CHECKED("not checked");

        private final String text;

        Outcome(String text) {
            this.text = text;
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /**
     * One line of a report.
     *
     * @param outcome whether it was all right
     * @param sample index of the sample
     * @param check what was looked at
     * @param detail what is wrong; why it was not checked; or what was tried, which may be empty
     */
    public record Line(Outcome outcome, int sample, String check, String detail) {
        @Override
        public String toString() {
            return String.format(
                    "%-11s  sample %d: %s%s", outcome, sample, check, said().replace("\n", "\n             "));
        }

        private String said() {
            return detail.isEmpty() ? "" : outcome == Outcome.NOT_CHECKED ? ", because " + detail : ": " + detail;
        }
    }

    /**
     * All lines, in the order in which they were tried.
     *
     * @param op its name
     * @param lines one for each check
     * @param seed of the random samples
     * @param reproducer if something failed, a Java program that fails alike; else empty
     */
    public record Report(String op, List<Line> lines, long seed, String reproducer) {
        /** {@return whether nothing failed} */
        public boolean ok() {
            return count(Outcome.FAIL) == 0;
        }

        /**
         * {@return how many checks ended that way}
         *
         * @param outcome one way
         */
        public long count(Outcome outcome) {
            return lines.stream().filter(l -> l.outcome() == outcome).count();
        }

        /**
         * This report, if all is well.
         *
         * @return this report
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
                    + count(Outcome.FAIL) + " failed, " + count(Outcome.NOT_CHECKED) + " not checked");
            lines.forEach(line -> s.append("\n  ").append(line));
            return ok() ? s.toString() : s + "\n  reproduce: seed " + seed + "L, or this program:\n\n" + reproducer;
        }
    }

    /**
     * Runs all checks on all samples.
     *
     * @return what was found; {@link Report#orThrow} makes an error of it
     */
    public Report run() {
        if (samples.isEmpty()) {
            throw new IllegalArgumentException(
                    "opcheck " + op.name() + ": there are no samples\n  fix: add samples(…).");
        }
        List<Line> lines = new ArrayList<>();
        for (int i = 0; i < samples.size(); i++) {
            int sample = i;
            SampleCheck<A, R> checks = new SampleCheck<>(op, samples.get(i), seed, tolerance, expecting, large);
            checks.all().forEach((name, check) -> {
                if (only.isEmpty() || only.contains(name)) {
                    lines.add(line(sample, name, check, checks.sample()));
                }
            });
        }
        return new Report(op.name(), List.copyOf(lines), seed, reproducer(lines));
    }

    /** Of the first sample that failed; empty if none did. */
    private String reproducer(List<Line> lines) {
        List<Line> failed =
                lines.stream().filter(l -> l.outcome() == Outcome.FAIL).toList();
        if (failed.isEmpty()) {
            return "";
        }
        int sample = failed.get(0).sample();
        List<String> checks = failed.stream()
                .filter(l -> l.sample() == sample)
                .map(Line::check)
                .toList();
        String options = (tolerance > 0 ? ".tolerance(" + tolerance + ")" : "")
                + (large ? ".large()" : "")
                + (expecting == null ? "" : " /* .expecting(…) */");
        return Reproducer.program(op, samples.get(sample), checks, seed, options);
    }

    private Line line(int sample, String name, SampleCheck.Check<A, R> check, OpSample<A, R> arguments) {
        for (Map.Entry<String, String> left : skipped.entrySet()) {
            if (name.startsWith(left.getKey())) {
                return new Line(Outcome.NOT_CHECKED, sample, name, left.getValue());
            }
        }
        try {
            return new Line(Outcome.PASS, sample, name, check.run(arguments));
        } catch (NotChecked e) {
            return new Line(Outcome.NOT_CHECKED, sample, name, text(e.getMessage()));
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
