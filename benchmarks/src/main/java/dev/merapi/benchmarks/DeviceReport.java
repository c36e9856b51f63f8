// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.dispatch.Backends;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Measures what a device does with the engine's ops, in its own units, and writes {@code <date>-<device>.json} and
 * {@code .md}; beside PyTorch's answers if a file of {@code pytorch_bench.py} is given. Not JMH: the time that counts is the
 * device's. What fails is reported in its row, and the rest goes on.
 */
public final class DeviceReport {
    private static final String USAGE = """
            bench [--device cuda|cpu|cuda-sim] [--tiny] [--rounds N] [--only REGEX] [--peer FILE] [--out FOLDER]
              --device   default: cuda if there is one, else cpu
              --tiny     sizes at which times mean nothing, to see that all of it runs
              --rounds   of which the median counts; default 5
              --only     the questions whose keys match
              --peer     JSON that pytorch_bench.py has written
              --out      default: benchmarks/results, or this folder if that is not there
            """;

    /** An answer, or why there is none. */
    private record Row(double value, String unit, @Nullable String failure) {}

    @FunctionalInterface
    interface Question {
        double answer();
    }

    private final Map<String, String> options;
    private final Map<String, Row> rows = new LinkedHashMap<>();
    private final Map<String, Double> peers = new LinkedHashMap<>();
    private final Map<String, String> facts = new LinkedHashMap<>();

    /** Asks, prints and keeps. */
    final class Sink {
        private final Pattern wanted = Pattern.compile(options.getOrDefault("only", ""));

        void ask(String key, String unit, Question question) {
            // All bandwidths are told as shares of that of copying.
            if (!key.equals("copy") && !wanted.matcher(key).find()) {
                return;
            }
            Row row;
            try {
                row = new Row(question.answer(), unit, null);
            } catch (RuntimeException e) {
                row = new Row(
                        Double.NaN,
                        unit,
                        String.valueOf(e.getMessage()).lines().findFirst().orElse("") + " ("
                                + e.getClass().getSimpleName() + ")");
            }
            rows.put(key, row);
            System.out.println(line(key, row));
        }
    }

    private DeviceReport(Map<String, String> options) {
        this.options = options;
    }

    public static void main(String[] args) throws IOException {
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--tiny" -> options.put("tiny", "");
                case "--device", "--rounds", "--only", "--peer", "--out" -> {
                    if (i + 1 == args.length) {
                        refuse("bench: " + args[i] + " needs a value");
                    }
                    options.put(args[i].substring(2), args[++i]);
                }
                default -> refuse(args[i].equals("--help") ? "" : "bench: no option " + args[i]);
            }
        }
        try {
            new DeviceReport(options).run();
        } catch (DeviceException e) {
            System.err.println("bench: " + e.getMessage());
            System.exit(2);
        }
    }

    private static void refuse(String message) {
        System.err.println((message + "\n" + USAGE).strip());
        System.exit(message.isEmpty() ? 0 : 2);
    }

    private void run() throws IOException {
        String name = options.getOrDefault("device", Backends.isAvailable(DeviceType.CUDA) ? "cuda" : "cpu");
        Device device = Device.of(name);
        Backends.allocator(device); // refuses a device that is not there
        DeviceSizes sizes = options.containsKey("tiny") ? DeviceSizes.tiny() : DeviceSizes.of(device);
        int rounds = Integer.parseInt(options.getOrDefault("rounds", "5"));
        facts.put("date", LocalDate.now().toString());
        facts.put("commit", System.getProperty("merapi.commit", "unknown"));
        facts.put("device", device + ", " + Backends.of(device.type()).description());
        facts.put("sizes", sizes.toString());
        facts.put("jvm", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
        facts.put("rounds", Integer.toString(rounds));
        String peer = options.get("peer");
        if (peer != null) {
            readPeer(Path.of(peer));
        }
        facts.forEach((key, value) -> System.out.println(key + ": " + value));
        System.out.println("\n" + HEADER);
        new DeviceQuestions(device, sizes, new DeviceClock(device, rounds, sizes.small()), new Sink()).all();
        write(device);
    }

    /** The peer writes one measurement a line; nothing here needs more of JSON. */
    private void readPeer(Path file) throws IOException {
        Matcher row = Pattern.compile("\"key\": \"([^\"]+)\", \"value\": ([-+.eE0-9]+)")
                .matcher("");
        Matcher fact = Pattern.compile("^ *\"(torch|device)\": \"([^\"]*)\"").matcher("");
        for (String line : Files.readAllLines(file)) {
            if (row.reset(line).find()) {
                peers.put(row.group(1), Double.parseDouble(row.group(2)));
            } else if (fact.reset(line).find()) {
                facts.put("peer " + fact.group(1), fact.group(2));
            }
        }
    }

    // ---------------------------------------------------------------- output

    private static final String HEADER =
            "| what | Merapi | of copying | PyTorch | as fast as PyTorch |\n|---|---|---|---|---|";

    private static final Set<String> LESS_IS_MORE = Set.of("µs", "MiB", "%", "kernels");

    /** How many times as good as the peer. */
    private double ratio(String key, Row row) {
        Double peer = peers.get(key);
        if (peer == null) {
            return Double.NaN;
        }
        return LESS_IS_MORE.contains(row.unit) ? peer / row.value : row.value / peer;
    }

    private double ofCopying(Row row) {
        Row copy = rows.get("copy");
        return row.unit.equals("GB/s") && copy != null ? row.value / copy.value : Double.NaN;
    }

    private String line(String key, Row row) {
        if (row.failure != null) {
            return "| " + key + " | failed: " + row.failure.replace("|", "/") + " | | | |";
        }
        Double peer = peers.get(key);
        return "| " + key + " | " + number(row.value) + " " + row.unit + " | " + percent(ofCopying(row)) + " | "
                + (peer == null ? "" : number(peer) + " " + row.unit) + " | "
                + (peer == null ? "" : String.format(Locale.ROOT, "%.2f×", ratio(key, row))) + " |";
    }

    private static String percent(double share) {
        return Double.isNaN(share) ? "" : String.format(Locale.ROOT, "%.0f %%", 100 * share);
    }

    private static String number(double value) {
        return value >= 1000 ? String.format(Locale.ROOT, "%,.0f", value) : String.format(Locale.ROOT, "%.3g", value);
    }

    private void write(Device device) throws IOException {
        Path results = Path.of("benchmarks", "results");
        Path folder = Path.of(options.getOrDefault("out", Files.isDirectory(results) ? results.toString() : "."));
        Files.createDirectories(folder);
        String what = device.type() == DeviceType.CUDA
                ? Backends.of(device.type()).description()
                : device.type().toString();
        String name = facts.get("date") + "-device-"
                + what.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "")
                + (options.containsKey("tiny") ? "-tiny" : "");
        StringBuilder json = new StringBuilder("{\n");
        StringBuilder table = new StringBuilder("# Device\n\n");
        facts.forEach((key, value) -> {
            json.append("  ")
                    .append(quoted(key))
                    .append(": ")
                    .append(quoted(value))
                    .append(",\n");
            table.append("- ").append(key).append(": ").append(value).append('\n');
        });
        table.append('\n').append(HEADER).append('\n');
        json.append("  \"rows\": [\n");
        String separator = "";
        for (Map.Entry<String, Row> e : rows.entrySet()) {
            Row r = e.getValue();
            Double peer = peers.get(e.getKey());
            table.append(line(e.getKey(), r)).append('\n');
            json.append(separator)
                    .append("    {\"key\": ")
                    .append(quoted(e.getKey()))
                    .append(", \"value\": ")
                    .append(json(r.value))
                    .append(", \"unit\": ")
                    .append(quoted(r.unit))
                    .append(", \"of_copy\": ")
                    .append(json(ofCopying(r)))
                    .append(", \"peer\": ")
                    .append(peer == null ? "null" : json(peer))
                    .append(", \"ratio\": ")
                    .append(json(ratio(e.getKey(), r)))
                    .append(r.failure == null ? "" : ", \"failure\": " + quoted(r.failure))
                    .append('}');
            separator = ",\n";
        }
        Files.writeString(folder.resolve(name + ".json"), json.append("\n  ]\n}\n"));
        Files.writeString(folder.resolve(name + ".md"), table);
        System.out.println("written: " + folder.resolve(name) + ".json and .md");
    }

    private static String json(double value) {
        return Double.isFinite(value) ? String.format(Locale.ROOT, "%.5g", value) : "null";
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + '"';
    }
}
