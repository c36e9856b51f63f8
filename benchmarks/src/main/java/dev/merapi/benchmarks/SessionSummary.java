// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What a {@link Session} has to tell on one page: each step, what failed in it, and the device's answers. */
final class SessionSummary {
    private static final int MOST_LINES = 80;
    private static final int LONGEST_LINE = 180;
    private static final int MOST_DETAILS = 6;

    private static final Pattern CLASS =
            Pattern.compile("\"class\": \"([^\"]*)\", \"passed\": (\\d+), \"failed\": (\\d+), \"skipped\": (\\d+)");
    private static final Pattern FAILURE =
            Pattern.compile("^\\{\"failed\": \"(.*)\", \"type\": \"(.*)\", \"message\": \"(.*)\"}$");

    /** What holds of all that the tests of a step say. */
    private static final Pattern NOTE = Pattern.compile("^\\{\"note\": \"(.*)\"}$");

    private static final Pattern NO_ANSWER = Pattern.compile("^\\{\"key\": \"([^\"]+)\", .*\"failure\": \"(.*)\"}$");

    private final List<Outcome> outcomes = new ArrayList<>();

    /** @param details a line each: what failed */
    record Outcome(String step, String result, String more, double seconds, List<String> details) {
        String line() {
            return cut(String.format(Locale.ROOT, "%-11s %-9s %4.0f s  %s", step, result, seconds, more))
                    .stripTrailing();
        }

        String json() {
            return "{\"step\": " + Answers.quoted(step) + ", \"result\": " + Answers.quoted(result) + ", \"seconds\": "
                    + String.format(Locale.ROOT, "%.1f", seconds) + ", \"more\": " + Answers.quoted(more) + "}";
        }
    }

    void add(Outcome outcome) {
        outcomes.add(outcome);
    }

    boolean allWell() {
        return outcomes.stream().allMatch(o -> o.result.equals("ok") || o.result.equals("left out"));
    }

    /** @param lines what the step has written of tests and answers; {@code last} the end of its output */
    static Outcome outcome(
            String step, String result, int code, int limit, double seconds, List<String> lines, String last) {
        Map<String, int[]> classes = new LinkedHashMap<>(); // of which the last line counts
        List<String> details = new ArrayList<>();
        String note = "";
        for (String line : lines) {
            Matcher noted = NOTE.matcher(line);
            note = noted.matches() ? "; " + noted.group(1) : note;
            Matcher tests = CLASS.matcher(line);
            Matcher failure = FAILURE.matcher(line);
            Matcher answer = NO_ANSWER.matcher(line);
            if (tests.find()) {
                classes.put(tests.group(1), new int[] {
                    Integer.parseInt(tests.group(2)), Integer.parseInt(tests.group(3)), Integer.parseInt(tests.group(4))
                });
            } else if (failure.find()) {
                String type = failure.group(2).replaceFirst(".*\\.", "");
                details.add(failure.group(1) + ": " + failure.group(3).replace("\\\"", "\"") + " (" + type + ")");
            } else if (answer.find()) {
                details.add(answer.group(1) + ": " + answer.group(2).replace("\\\"", "\""));
            }
        }
        int[] counts = new int[3];
        for (int[] c : classes.values()) {
            for (int i = 0; i < counts.length; i++) {
                counts[i] += c[i];
            }
        }
        String how = result.equals("ok") && !details.isEmpty() ? "FAILED" : result;
        boolean tested = counts[0] + counts[1] + counts[2] > 0;
        String more = tested ? counts[0] + " passed, " + counts[1] + " failed, " + counts[2] + " skipped" + note : "";
        String[] end = last.split("\n");
        if (result.equals("left out")) {
            more = end[end.length - 1];
        } else if (result.equals("stopped")) {
            more = "after the " + limit + " s that it has" + (tested ? "; till then " + more : "");
        } else if (result.equals("FAILED") && details.isEmpty()) {
            List<String> said =
                    last.lines().filter(line -> !line.startsWith("\tat ")).toList();
            details.addAll(said.subList(Math.max(0, said.size() - 3), said.size()));
            more = "exit code " + code;
        }
        return new Outcome(step, how, more, seconds, details);
    }

    /** The lines of a file from a byte on; of one that is not there none. */
    static List<String> linesFrom(Path file, long from) throws IOException {
        if (!Files.exists(file)) {
            return List.of();
        }
        try (RandomAccessFile in = new RandomAccessFile(file.toFile(), "r")) {
            byte[] bytes = new byte[(int) (in.length() - from)];
            in.seek(from);
            in.readFully(bytes);
            return new String(bytes, StandardCharsets.UTF_8).lines().toList();
        }
    }

    /** At most 80 lines. */
    String text(Path answers, @Nullable Path peers) throws IOException {
        List<String> figures = Files.exists(answers) ? figures(Answers.read(answers), peers) : List.of();
        List<String> lines = List.of();
        for (int most = MOST_DETAILS; most >= 0; most--) {
            lines = new ArrayList<>();
            for (Outcome o : outcomes) {
                lines.add(o.line());
                List<String> details = o.details;
                for (int i = 0; i < Math.min(most, details.size()); i++) {
                    lines.add(cut("    " + details.get(i)));
                }
                if (details.size() > most && most > 0) {
                    lines.add("    and " + (details.size() - most) + " more kinds of failure: session.jsonl");
                }
            }
            lines.addAll(figures);
            if (lines.size() <= MOST_LINES) {
                break;
            }
        }
        return String.join("\n", lines.subList(0, Math.min(lines.size(), MOST_LINES))) + "\n";
    }

    /** As many answers a line as there is room for. */
    private static List<String> figures(Answers answers, @Nullable Path peers) throws IOException {
        DeviceTable table = new DeviceTable(answers, peers == null ? null : Answers.read(peers));
        List<String> lines = new ArrayList<>();
        lines.add("");
        StringBuilder line = new StringBuilder();
        for (Map.Entry<String, Answers.Answer> e : answers.all().entrySet()) {
            String figure = table.figure(e.getKey(), e.getValue());
            if (line.length() + figure.length() > LONGEST_LINE && line.length() > 0) {
                lines.add(line.toString());
                line.setLength(0);
            }
            line.append(line.length() == 0 ? "" : "; ").append(figure);
        }
        lines.add(line.toString());
        return lines;
    }

    private static String cut(String line) {
        return line.length() <= LONGEST_LINE ? line : line.substring(0, LONGEST_LINE - 1) + "…";
    }
}
