// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.backend.Backends;
import dev.merapi.benchmarks.Answers.Answer;
import dev.merapi.cuda.Cuda;
import dev.merapi.device.Memory;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Measures what a device does with the engine's ops, in its own units, and writes {@code <date>-device-<name>.jsonl}, a line an
 * answer at once, and of these a table, {@code .md}; beside PyTorch's answers if a file of {@code pytorch_bench.py} is given. Not
 * JMH: the time that counts is the device's. What fails is reported in its row, and the rest goes on.
 */
public final class DeviceReport {
    private static final String USAGE = """
            bench [--device cuda|cpu|cuda-sim] [--tiny] [--rounds N] [--only REGEX] [--peer FILE] [--out FOLDER | --into FILE]
              --device   default: cuda if there is one, else cpu
              --tiny     sizes at which times mean nothing, to see that all of it runs
              --rounds   of which the median counts; default 5
              --only     the questions whose keys match
              --peer     what pytorch_bench.py has written, or none
              --out      default: benchmarks/results, or this folder if that is not there
              --into     adds to the answers of an earlier run, with the same device
            """;

    @FunctionalInterface
    interface Question {
        double answer();
    }

    private final Map<String, String> options;
    private final Pattern wanted;

    /** Asks, prints and keeps. */
    final class Sink {
        private final Path file;
        private final DeviceTable table;

        private String leftOut = "";
        private boolean asked;

        private Sink(Path file, @Nullable Path peers) throws IOException {
            this.file = file;
            table = new DeviceTable(Answers.read(file), peers == null ? null : Answers.read(peers));
        }

        boolean asks(String key) {
            return wanted.matcher(key).find();
        }

        /** Whether there is a question about a training step: see {@link DeviceSteps}. */
        boolean asksOfStep(String key) {
            return Stream.of("", "_peak", "_graph", "_kernels", "_idle").anyMatch(end -> asks(key + end));
        }

        /** Questions with keys that begin so have no sense here. */
        void leaveOut(String keys, String reason) {
            if (wanted.matcher(keys).find()) {
                System.out.println(keys + "…: " + reason);
                leftOut = reason;
            }
        }

        /** Questions and what they stand on: if that cannot be made, it is an answer too, and the others are asked. */
        void part(String name, Runnable questions) {
            try {
                questions.run();
            } catch (RuntimeException e) {
                keep(name, failed("", e));
            }
        }

        void ask(String key, String unit, Question question) {
            // All bandwidths are told as shares of that of copying.
            boolean first = key.equals("copy") && !table.answers().all().containsKey(key);
            if (!first && !asks(key)) {
                return;
            }
            Answer answer;
            try {
                answer = new Answer(question.answer(), unit, null);
            } catch (RuntimeException e) {
                answer = failed(unit, e);
            }
            keep(key, answer);
        }

        private Answer failed(String unit, RuntimeException e) {
            String message = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
            return new Answer(Double.NaN, unit, message + " (" + e.getClass().getSimpleName() + ")");
        }

        private void keep(String key, Answer answer) {
            asked = true;
            table.answers().all().put(key, answer);
            System.out.println(table.line(key, answer));
            try {
                Answers.append(file, key, answer);
            } catch (IOException e) {
                throw new UncheckedIOException(file + ": " + e.getMessage(), e);
            }
        }
    }

    private DeviceReport(Map<String, String> options) {
        this.options = options;
        wanted = Pattern.compile(options.getOrDefault("only", ""));
    }

    public static void main(String[] args) throws IOException {
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--tiny" -> options.put("tiny", "");
                case "--device", "--rounds", "--only", "--peer", "--out", "--into" -> {
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
        } catch (PatternSyntaxException e) {
            refuse("bench: --only is no regular expression: " + e.getMessage());
        }
    }

    private static void refuse(String message) {
        System.err.println((message + "\n" + USAGE).strip());
        System.exit(message.isEmpty() ? 0 : 2);
    }

    private void run() throws IOException {
        Device device =
                Device.of(options.getOrDefault("device", Backends.isAvailable(DeviceType.CUDA) ? "cuda" : "cpu"));
        Memory.stats(device); // refuses a device that is not there
        DeviceSizes sizes = options.containsKey("tiny") ? DeviceSizes.tiny() : DeviceSizes.of(device);
        int rounds = Integer.parseInt(options.getOrDefault("rounds", "5"));
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("date", LocalDate.now().toString());
        facts.put("commit", System.getProperty("merapi.commit", "unknown"));
        facts.put("device", device + ", " + Backends.of(device.type()).description());
        facts.put("name", name(device));
        facts.put("sizes", sizes.toString());
        facts.put("jvm", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
        facts.put("rounds", Integer.toString(rounds));
        Path file = file(device);
        for (Map.Entry<String, String> fact : facts.entrySet()) {
            System.out.println(fact.getKey() + ": " + fact.getValue());
            Answers.append(file, fact.getKey(), fact.getValue());
        }
        System.out.println("\n" + DeviceTable.HEADER);
        String peer = options.getOrDefault("peer", "none");
        Path peers = peer.equals("none") ? null : Path.of(peer);
        Sink sink = new Sink(file, peers);
        new DeviceQuestions(device, sizes, new DeviceClock(device, rounds, sizes.small()), sink).all();
        System.out.println("written: " + file + " and " + DeviceTable.write(file, peers));
        if (!sink.asked && !sink.leftOut.isEmpty()) {
            System.out.println(sink.leftOut);
            System.exit(Session.LEFT_OUT);
        }
    }

    private Path file(Device device) throws IOException {
        String given = options.get("into");
        if (given != null) {
            Path file = Path.of(given);
            if (!Files.exists(file)) {
                Files.createFile(file);
            }
            return file;
        }
        Path results = Path.of("benchmarks", "results");
        Path folder = Path.of(options.getOrDefault("out", Files.isDirectory(results) ? results.toString() : "."));
        return Answers.fresh(
                folder, LocalDate.now() + "-device-" + name(device) + (options.containsKey("tiny") ? "-tiny" : ""));
    }

    private static String name(Device device) {
        return device.type() == DeviceType.CUDA
                ? Cuda.deviceName(device)
                : device.type().toString();
    }
}
