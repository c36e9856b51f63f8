// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Numbers over the steps of a run: kept in memory by name, and appended to a CSV file, one row a step with the columns
 * given at first. A value that a row does not have is left empty there. For one thread at a time.
 */
public final class Metrics implements AutoCloseable {
    private static final long FLUSH_NANOS = 1_000_000_000;

    private final Map<String, Series> series = new LinkedHashMap<>();
    private final BufferedWriter csv;
    private long flushed = System.nanoTime();

    /** Values of one name, and the steps that they belong to. */
    public record Series(List<Long> steps, List<Double> values) {}

    private Metrics(BufferedWriter csv) {
        this.csv = csv;
    }

    /** Begins a CSV file with a column for the step and one for each name. */
    public static Metrics create(Path file, String... names) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(names, "names");
        BufferedWriter csv = Files.newBufferedWriter(file);
        Metrics metrics = new Metrics(csv);
        csv.write("step");
        for (String name : names) {
            metrics.series.put(name, new Series(new ArrayList<>(), new ArrayList<>()));
            csv.write("," + name);
        }
        csv.newLine();
        csv.flush();
        return metrics;
    }

    /**
     * Writes a row.
     *
     * @throws IllegalArgumentException if a name has no column
     */
    public void record(long step, Map<String, Double> values) {
        Objects.requireNonNull(values, "values");
        if (!series.keySet().containsAll(values.keySet())) {
            throw new IllegalArgumentException(
                    "metrics: of " + values.keySet() + " not all are among the columns " + series.keySet());
        }
        StringBuilder row = new StringBuilder().append(step);
        series.forEach((name, s) -> {
            Double value = values.get(name);
            row.append(',');
            if (value != null) {
                row.append(value.floatValue());
                s.steps.add(step);
                s.values.add(value);
            }
        });
        try {
            csv.write(row.toString());
            csv.newLine();
            long now = System.nanoTime();
            if (now - flushed > FLUSH_NANOS) { // so that a run can be watched, at no cost per step
                csv.flush();
                flushed = now;
            }
        } catch (IOException e) {
            throw new UncheckedIOException("metrics: cannot write", e);
        }
    }

    /** Everything recorded under a name so far. */
    public Series series(String name) {
        Series s = series.get(name);
        if (s == null) {
            throw new IllegalArgumentException("metrics: there is no '" + name + "' among " + series.keySet());
        }
        return s;
    }

    @Override
    public void close() throws IOException {
        csv.close();
    }
}
