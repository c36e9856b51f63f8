// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.io.AtomicFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
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
    private final FileChannel file;
    /** Rows that are not in the file yet: all since {@link #end}. A row that the disk refused is written at the next try. */
    private final StringBuilder pending = new StringBuilder();

    private long end;
    private long flushed = System.nanoTime();

    /**
     * Values of one name, and the steps that they belong to.
     *
     * @param steps in the order of recording
     * @param values one for each step
     */
    public record Series(List<Long> steps, List<Double> values) {}

    private Metrics(FileChannel file) throws IOException {
        this.file = file;
        this.end = file.size();
    }

    /**
     * Begins a CSV file with a column for the step and one for each name.
     *
     * @param file is written anew
     * @param names of the columns, without comma and line break
     * @return metrics, to be closed
     * @throws IOException if the file cannot be written
     */
    public static Metrics create(Path file, String... names) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(names, "names");
        Metrics metrics = new Metrics(FileChannel.open(
                file, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE));
        for (String name : names) {
            metrics.series.put(name, new Series(new ArrayList<>(), new ArrayList<>()));
        }
        metrics.pending.append(header(names)).append(System.lineSeparator());
        try {
            metrics.write();
        } catch (IOException e) {
            metrics.file.close();
            throw e;
        }
        return metrics;
    }

    /**
     * Goes on with the file of a run that was interrupted: rows of the given step and later ones, which are computed again,
     * are cut off, and so is half a row.
     *
     * @param file as {@link #create} and {@link #record} left it
     * @param step the next one
     * @param names of the columns, as they were
     * @return the metrics, with all rows before that step
     * @throws IOException if it cannot be read, or has other columns
     */
    public static Metrics resume(Path file, long step, String... names) throws IOException {
        String text = Files.readString(file);
        List<String> rows = text.lines().toList();
        if (rows.isEmpty() || !rows.get(0).equals(header(names))) {
            throw new IOException("metrics: " + file + " has the columns " + (rows.isEmpty() ? "" : rows.get(0))
                    + ", not " + header(names));
        }
        int whole = text.endsWith("\n") ? rows.size() : rows.size() - 1;
        List<String> kept = rows.subList(1, Math.max(1, whole)).stream()
                .filter(row -> stepOf(row) < step)
                .toList();
        AtomicFile.write(file, channel -> {
            StringBuilder all = new StringBuilder(header(names)).append(System.lineSeparator());
            kept.forEach(row -> all.append(row).append(System.lineSeparator()));
            channel.write(ByteBuffer.wrap(all.toString().getBytes(StandardCharsets.UTF_8)));
        });
        Metrics metrics = new Metrics(FileChannel.open(file, StandardOpenOption.WRITE));
        for (int k = 0; k < names.length; k++) {
            Series s = new Series(new ArrayList<>(), new ArrayList<>());
            metrics.series.put(names[k], s);
            for (String row : kept) {
                String value = row.split(",", -1)[k + 1];
                if (!value.isEmpty()) {
                    s.steps.add(stepOf(row));
                    s.values.add(Double.parseDouble(value));
                }
            }
        }
        return metrics;
    }

    private static String header(String... names) {
        Objects.requireNonNull(names, "names");
        return "step," + String.join(",", names);
    }

    private static long stepOf(String row) {
        return Long.parseLong(row.substring(0, row.indexOf(',')));
    }

    /**
     * Writes a row. One that the disk refuses is kept, and tried again with those that follow.
     *
     * @param step what the first column says
     * @param values by name; columns without one stay empty
     * @throws IllegalArgumentException if a name has no column
     * @throws UncheckedIOException if rows cannot be written now
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
        pending.append(row).append(System.lineSeparator());
        if (System.nanoTime() - flushed > FLUSH_NANOS) { // so that a run can be watched, at no cost per step
            try {
                write();
            } catch (IOException e) {
                throw new UncheckedIOException("metrics: cannot write", e);
            }
        }
    }

    /** Over what a refused write has left. */
    private void write() throws IOException {
        flushed = System.nanoTime();
        ByteBuffer bytes = ByteBuffer.wrap(pending.toString().getBytes(StandardCharsets.UTF_8));
        long at = end;
        while (bytes.hasRemaining()) {
            at += file.write(bytes, at);
        }
        end = at;
        pending.setLength(0);
    }

    /** {@return the names of the columns, in their order} */
    public List<String> names() {
        return List.copyOf(series.keySet());
    }

    /**
     * Everything recorded under a name so far.
     *
     * @param name one of the columns
     * @return steps and values, in the order of recording
     */
    public Series series(String name) {
        Series s = series.get(name);
        if (s == null) {
            throw new IllegalArgumentException("metrics: there is no '" + name + "' among " + series.keySet());
        }
        return s;
    }

    /** All rows so far are on the disk when this returns; call it before a checkpoint, which they belong to. */
    public void flush() throws IOException {
        write();
        file.force(false);
    }

    @Override
    public void close() throws IOException {
        try {
            write();
        } finally {
            file.close();
        }
    }
}
