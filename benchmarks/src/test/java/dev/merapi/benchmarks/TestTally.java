// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/**
 * Counts by class, and tells each distinct failure once: thousands of tests may fail for one reason. At the end a table of what is
 * not all well. Failures are alike if they have one type and one message, numbers left out.
 */
final class TestTally implements TestExecutionListener {
    private static final int LINES_OF_TRACE = 25;
    private static final int LONGEST_MESSAGE = 400;
    private static final long BETWEEN_LINES = 2_000_000_000;

    private static final class Counts {
        final long began = System.nanoTime();
        long written = began;
        boolean done;
        int passed;
        int failed;
        int skipped;
        String first = "";

        String seconds() {
            return String.format(Locale.ROOT, "%.1f", (System.nanoTime() - began) * 1e-9);
        }

        String text() {
            return passed + " passed, " + failed + " failed, " + skipped + " skipped";
        }
    }

    private final PrintStream out;
    private final @Nullable Path results;
    private final Map<String, Counts> classes = new LinkedHashMap<>();
    private final Map<String, Integer> alike = new LinkedHashMap<>();
    private final Map<String, String> messages = new LinkedHashMap<>();
    private @Nullable TestPlan plan;
    private boolean closed;

    TestTally(PrintStream out, @Nullable Path results) {
        this.out = out;
        this.results = results;
    }

    @Override
    public synchronized void testPlanExecutionStarted(TestPlan started) {
        plan = started;
    }

    @Override
    public synchronized void executionStarted(TestIdentifier test) {
        if (isClass(test)) {
            counts(test); // its time begins
        }
    }

    @Override
    public synchronized void executionFinished(TestIdentifier test, TestExecutionResult result) {
        Throwable thrown = result.getThrowable().orElse(null);
        switch (result.getStatus()) {
            case SUCCESSFUL -> {
                if (test.isTest()) {
                    counts(test).passed++;
                }
            }
            case ABORTED -> skip(test, thrown == null ? "" : String.valueOf(thrown.getMessage()));
            case FAILED -> fail(test, thrown == null ? new AssertionError("no reason given") : thrown);
        }
        String name = name(test);
        Counts counts = classes.get(name);
        if (counts != null && isClass(test)) {
            out.println(name + ": " + counts.text() + " in " + counts.seconds() + " s");
            write(name, counts);
            counts.done = true;
        } else if (counts != null && System.nanoTime() - counts.written > BETWEEN_LINES) {
            write(name, counts); // whoever is stopped in a class of thousands has told how far it came
        }
    }

    /** What holds of all that follows. */
    synchronized void note(String text) {
        out.println(text);
        write("{\"note\": " + Answers.quoted(text) + "}");
    }

    private void write(String name, Counts counts) {
        counts.written = System.nanoTime();
        write("{\"class\": " + Answers.quoted(name) + ", \"passed\": " + counts.passed + ", \"failed\": "
                + counts.failed + ", \"skipped\": " + counts.skipped + ", \"seconds\": " + counts.seconds() + "}");
    }

    @Override
    public synchronized void executionSkipped(TestIdentifier test, String reason) {
        skip(test, reason);
    }

    private void skip(TestIdentifier test, String reason) {
        counts(test).skipped++;
        distinct("skipped", test, reason, null);
    }

    private void fail(TestIdentifier test, Throwable thrown) {
        Counts counts = counts(test);
        counts.failed++;
        String message = thrown.getMessage() == null ? thrown.toString() : thrown.getMessage();
        if (counts.first.isEmpty()) {
            counts.first = line(message);
        }
        distinct("failed", test, message, thrown);
    }

    /** The first of its kind is told in full, the others are counted. */
    private void distinct(String what, TestIdentifier test, String message, @Nullable Throwable thrown) {
        String type = thrown == null ? "" : thrown.getClass().getName();
        String kind = what + type + line(message).replaceAll("[-+]?\\d[\\d.,eE+-]*|NaN|Infinity", "0");
        if (alike.merge(kind, 1, Integer::sum) > 1) {
            return;
        }
        String full = name(test) + " " + test.getDisplayName();
        messages.put(kind, what + ": " + full + ": " + line(message));
        out.println(what.toUpperCase(Locale.ROOT) + " " + full + ": " + message);
        if (thrown != null) {
            StackTraceElement[] trace = thrown.getStackTrace();
            for (int i = 0; i < Math.min(trace.length, LINES_OF_TRACE); i++) {
                out.println("    at " + trace[i]);
            }
            for (Throwable cause = thrown.getCause(); cause != null; cause = cause.getCause()) {
                out.println("    because of " + cause);
            }
        }
        write("{\"" + what + "\": " + Answers.quoted(full) + ", \"type\": " + Answers.quoted(type) + ", \"message\": "
                + Answers.quoted(line(message)) + "}");
    }

    private void write(String line) {
        if (results != null) {
            try {
                Answers.append(results, line);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    synchronized int failures() {
        return classes.values().stream().mapToInt(c -> c.failed).sum();
    }

    /** Prints the table, once. */
    synchronized void close() {
        if (closed || classes.isEmpty()) {
            return;
        }
        closed = true;
        int passed = 0;
        int skipped = 0;
        classes.forEach((name, counts) -> {
            if (!counts.done) {
                write(name, counts);
            }
        });
        out.println("\n| class | passed | failed | skipped | first failure |\n|---|---|---|---|---|");
        for (Map.Entry<String, Counts> e : classes.entrySet()) {
            Counts c = e.getValue();
            passed += c.passed;
            skipped += c.skipped;
            out.println("| " + e.getKey() + " | " + c.passed + " | " + c.failed + " | " + c.skipped + " | " + c.first
                    + " |");
        }
        out.println();
        messages.forEach((kind, message) ->
                out.println(message + (alike.get(kind) == 1 ? "" : " (and " + (alike.get(kind) - 1) + " like it)")));
        out.println(passed + " passed, " + failures() + " failed, " + skipped + " skipped");
        out.flush();
    }

    private static String line(String message) {
        String line = message.strip().replaceAll("\\s+", " ");
        return line.substring(0, Math.min(line.length(), LONGEST_MESSAGE));
    }

    private Counts counts(TestIdentifier test) {
        return classes.computeIfAbsent(name(test), name -> new Counts());
    }

    private boolean isClass(TestIdentifier test) {
        return test.getSource().filter(ClassSource.class::isInstance).isPresent();
    }

    /** The simple name of the class that a test stands in; of an engine its own. */
    private String name(TestIdentifier test) {
        Optional<TestIdentifier> at = Optional.of(test);
        while (at.isPresent()) {
            Optional<TestSource> source = at.get().getSource();
            if (source.isPresent() && source.get() instanceof ClassSource c) {
                return c.getClassName().replaceFirst(".*\\.", "");
            }
            at = plan == null ? Optional.empty() : plan.getParent(at.get());
        }
        return test.getDisplayName();
    }
}
