// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.tensor.Tensor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.TreeSet;

/**
 * A table of a CSV file (RFC 4180): a first line of names, then rows of as many values. A value in double quotes may have
 * separators, line breaks and doubled quotes in it. It is held as text; columns become tensors.
 *
 * <pre>{@code
 * Csv table = Csv.read(Path.of("iris.csv"));
 * Tensor x = table.numbers("length", "width");                   // float32 [N, 2]
 * Tensor y = table.classes("species", table.values("species"));   // int64 [N]
 * }</pre>
 */
public final class Csv {
    private final String name;
    private final List<String> names;
    private final List<List<String>> rows;

    private Csv(String name, List<String> names, List<List<String>> rows) {
        this.name = name;
        this.names = names;
        this.rows = rows;
    }

    /**
     * Reads a file in UTF-8 with commas.
     *
     * @param file with a line of names
     * @return the table
     * @throws IOException if it cannot be read
     * @throws FormatException if a row has another number of values than there are names, or quotes are wrong
     */
    public static Csv read(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        try (Reader in = Files.newBufferedReader(file)) {
            return read(in, ',', file.toString());
        }
    }

    /**
     * Reads text to its end, and does not close it.
     *
     * @param text with a line of names
     * @param separator such as {@code ','}, {@code ';'} or a tab
     * @param name what messages call it
     * @return the table
     * @throws IOException if it cannot be read
     * @throws FormatException if a row has another number of values than there are names, or quotes are wrong
     */
    public static Csv read(Reader text, char separator, String name) throws IOException {
        Objects.requireNonNull(text, "text");
        Objects.requireNonNull(name, "name");
        Parser parser = new Parser(new BufferedReader(text), separator, name);
        List<String> names = parser.row();
        if (names == null) {
            throw new FormatException("csv: " + name + " is empty; its first line must name the columns");
        }
        if (names.get(0).startsWith("\ufeff")) { // a mark of the byte order, which some programs write
            names.set(0, names.get(0).substring(1));
        }
        List<List<String>> rows = new ArrayList<>();
        int line = parser.line;
        for (List<String> row = parser.row(); row != null; row = parser.row()) {
            if (row.size() != names.size()) {
                throw new FormatException("csv: " + name + ", line " + line + ": " + row.size() + " values for "
                        + names.size() + " columns " + names);
            }
            rows.add(List.copyOf(row));
            line = parser.line;
        }
        return new Csv(name, List.copyOf(names), rows);
    }

    /** {@return the names of the columns, in order} */
    public List<String> names() {
        return names;
    }

    /** {@return how many rows there are, without that of the names} */
    public long size() {
        return rows.size();
    }

    /**
     * The texts of a column.
     *
     * @param column its name
     * @return one for each row
     * @throws IllegalArgumentException if there is no such column
     */
    public List<String> column(String column) {
        int at = index(column);
        return rows.stream().map(row -> row.get(at)).toList();
    }

    /**
     * The different texts of a column.
     *
     * @param column its name
     * @return them, sorted
     * @throws IllegalArgumentException if there is no such column
     */
    public List<String> values(String column) {
        return List.copyOf(new TreeSet<>(column(column)));
    }

    /**
     * Numbers of some columns.
     *
     * @param columns their names, at least one
     * @return float32 [rows, columns]; an empty text is NaN
     * @throws FormatException if a text is no number
     * @throws IllegalArgumentException if there is no such column
     */
    public Tensor numbers(String... columns) throws FormatException {
        int width = Objects.requireNonNull(columns, "columns").length;
        float[] all = new float[Math.multiplyExact(rows.size(), width)];
        for (int c = 0; c < width; c++) {
            int at = index(columns[c]);
            for (int r = 0; r < rows.size(); r++) {
                String text = rows.get(r).get(at).strip();
                try {
                    all[r * width + c] = text.isEmpty() ? Float.NaN : Float.parseFloat(text);
                } catch (NumberFormatException e) {
                    throw new FormatException(
                            "csv: " + name + ", row " + (r + 1) + " of '" + columns[c] + "': '" + text
                                    + "' is no number",
                            e);
                }
            }
        }
        return Tensor.of(all, rows.size(), width);
    }

    /**
     * The texts of a column as numbers of classes.
     *
     * @param column its name
     * @param classes the texts that there may be, in the order of their numbers
     * @return int64 [rows]
     * @throws FormatException if a text is none of them
     * @throws IllegalArgumentException if there is no such column
     */
    public Tensor classes(String column, List<String> classes) throws FormatException {
        Objects.requireNonNull(classes, "classes");
        int at = index(column);
        long[] all = new long[rows.size()];
        for (int r = 0; r < all.length; r++) {
            all[r] = classes.indexOf(rows.get(r).get(at));
            if (all[r] < 0) {
                throw new FormatException("csv: " + name + ", row " + (r + 1) + " of '" + column + "': '"
                        + rows.get(r).get(at) + "' is none of " + classes);
            }
        }
        return Tensor.of(all, all.length);
    }

    private int index(String column) {
        int at = names.indexOf(Objects.requireNonNull(column, "column"));
        if (at < 0) {
            throw new IllegalArgumentException(
                    "csv: " + name + " has no column '" + column + "'\n  fix: use one of " + names);
        }
        return at;
    }

    /** Rows of a text, one character at a time. */
    private static final class Parser {
        private static final int END = -1;

        private final BufferedReader in;
        private final char separator;
        private final String name;
        private int line = 1;

        Parser(BufferedReader in, char separator, String name) {
            this.in = in;
            this.separator = separator;
            this.name = name;
        }

        private int next() throws IOException {
            int c = in.read();
            if (c == '\r') { // a line ends with CR, LF, or both
                in.mark(1);
                if (in.read() != '\n') {
                    in.reset();
                }
                c = '\n';
            }
            line += c == '\n' ? 1 : 0;
            return c;
        }

        /** The next row; null at the end. A line without anything is none. */
        @org.jspecify.annotations.Nullable
        List<String> row() throws IOException {
            int c = next();
            while (c == '\n') {
                c = next();
            }
            if (c == END) {
                return null;
            }
            List<String> values = new ArrayList<>();
            while (true) {
                StringBuilder value = new StringBuilder();
                if (c == '"') {
                    c = quoted(value);
                } else {
                    for (; c != separator && c != '\n' && c != END; c = next()) {
                        if (c == '"') {
                            throw new FormatException("csv: " + name + ", line " + line
                                    + ": a quote within a value that does not begin with one");
                        }
                        value.append((char) c);
                    }
                }
                values.add(value.toString());
                if (c != separator) {
                    return values;
                }
                c = next();
            }
        }

        /** What is within quotes; returns what stands behind. */
        private int quoted(StringBuilder value) throws IOException {
            int begun = line;
            while (true) {
                int c = next();
                if (c == END) {
                    throw new FormatException("csv: " + name + ", line " + begun + ": a quote is not closed");
                }
                if (c == '"') {
                    int behind = next();
                    if (behind != '"') {
                        if (behind != separator && behind != '\n' && behind != END) {
                            throw new FormatException(
                                    "csv: " + name + ", line " + line + ": text behind a closed quote");
                        }
                        return behind;
                    }
                }
                value.append((char) c);
            }
        }
    }
}
