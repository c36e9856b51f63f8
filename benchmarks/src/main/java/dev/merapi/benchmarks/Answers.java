// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What a device, or PyTorch on it, has answered: a file with a JSON object a line. Each line is on disk before the next question
 * is asked, so that whatever ends the process takes nothing with it. Where a key or a fact stands twice, the later one counts.
 */
record Answers(Map<String, String> facts, Map<String, Answer> all) {
    /** Longer names are cut: file systems allow 255 bytes, and what copies files may allow fewer. */
    private static final int LONGEST_NAME = 100;

    private static final Pattern FACT = Pattern.compile("^\\{\"fact\": \"([^\"]+)\", \"value\": \"(.*)\"}$");
    private static final Pattern ANSWER = Pattern.compile(
            "^\\{\"key\": \"([^\"]+)\", \"value\": ([^,]+), \"unit\": \"([^\"]*)\"(?:, \"failure\": \"(.*)\")?}$");

    /** A number, or why there is none. */
    record Answer(double value, String unit, @Nullable String failure) {}

    /** A file that is not there yet: {@code <name>.jsonl}, or with -2, -3, … before the dot. */
    static Path fresh(Path folder, String name) throws IOException {
        Files.createDirectories(folder);
        String slug = slug(name);
        for (int i = 1; ; i++) {
            try {
                return Files.createFile(folder.resolve(slug + (i == 1 ? "" : "-" + i) + ".jsonl"));
            } catch (FileAlreadyExistsException e) {
                // an earlier run's
            }
        }
    }

    /** Small letters, digits and single dashes, at most 100. */
    static String slug(String name) {
        String slug = name.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-");
        return slug.substring(0, Math.min(slug.length(), LONGEST_NAME)).replaceAll("^-|-$", "");
    }

    static void append(Path file, String fact, String value) throws IOException {
        append(file, "{\"fact\": " + quoted(fact) + ", \"value\": " + quoted(value) + "}");
    }

    static void append(Path file, String key, Answer a) throws IOException {
        String value = Double.isFinite(a.value) ? String.format(Locale.ROOT, "%.5g", a.value) : "null";
        append(
                file,
                "{\"key\": " + quoted(key) + ", \"value\": " + value + ", \"unit\": " + quoted(a.unit)
                        + (a.failure == null ? "" : ", \"failure\": " + quoted(a.failure)) + "}");
    }

    /** Adds a line, and returns when it is on disk. */
    static void append(Path file, String line) throws IOException {
        Files.writeString(
                file, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND, StandardOpenOption.DSYNC);
    }

    /** All that is whole in a file: the last line of a process that was killed may not be. */
    static Answers read(Path file) throws IOException {
        Answers answers = new Answers(new LinkedHashMap<>(), new LinkedHashMap<>());
        Matcher fact = FACT.matcher("");
        Matcher answer = ANSWER.matcher("");
        for (String line : Files.readAllLines(file)) {
            if (fact.reset(line).find()) {
                answers.facts.put(fact.group(1), plain(fact.group(2)));
            } else if (answer.reset(line).find()) {
                String value = answer.group(2);
                String failure = answer.group(4);
                answers.all.put(
                        answer.group(1),
                        new Answer(
                                value.equals("null") ? Double.NaN : Double.parseDouble(value),
                                answer.group(3),
                                failure == null ? null : plain(failure)));
            }
        }
        return answers;
    }

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("[\\p{Cntrl}]+", " ") + '"';
    }

    private static String plain(String quoted) {
        return quoted.replace("\\\"", "\"").replace("\\\\", "\\");
    }
}
