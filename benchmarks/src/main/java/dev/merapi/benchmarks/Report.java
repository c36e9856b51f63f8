// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Measures every {@link Floor} beside its peer, in rounds that alternate between the two, and writes medians, ratios and
 * the machine to {@code benchmarks/results}: JSON for tools, a table for people.
 *
 * <p>Arguments: {@code [rounds] [regex over questions]}; the system property {@code merapi.commit} names the commit.
 */
public final class Report {
    private static final int ROUNDS = 3;

    /** What was measured: medians over the rounds. */
    private record Row(
            Floor floor, double ours, double bytes, double peer, String peerThreads, double ratio, String unit) {
        boolean met() {
            return (floor.limit() == null || ours <= floor.limit())
                    && (floor.ratio() == null || ratio <= floor.ratio())
                    && (floor.bytes() == null || bytes <= floor.bytes());
        }
    }

    /** The median of one run of a benchmark at its best thread setting. */
    private record Score(double median, double bytes, String threads, String unit) {}

    private Report() {}

    public static void main(String[] args) throws IOException, InterruptedException, RunnerException {
        int rounds = args.length > 0 ? Integer.parseInt(args[0]) : ROUNDS;
        Pattern wanted = Pattern.compile(args.length > 1 ? args[1] : "");
        List<Row> rows = new ArrayList<>();
        for (Floor floor : Floor.all()) {
            if (wanted.matcher(floor.question()).find()) {
                Row row = floor.ours().isEmpty() ? startup(floor, rounds) : measure(floor, rounds);
                rows.add(row);
                System.out.println(line(row));
            }
        }
        write(rows, rounds);
    }

    private static Row startup(Floor floor, int rounds) throws IOException, InterruptedException {
        double median = median(Startup.measure(3 * rounds));
        return new Row(floor, median, Double.NaN, Double.NaN, "", Double.NaN, "ms/op");
    }

    private static Row measure(Floor floor, int rounds) throws RunnerException {
        String peer = floor.peer();
        boolean hasPeer = peer != null && isThere(peer);
        double[] ours = new double[rounds];
        double[] others = new double[rounds];
        double[] ratios = new double[rounds];
        Score last = null;
        Score lastPeer = null;
        for (int i = 0; i < rounds; i++) {
            last = run(floor.ours(), floor.parameters(), List.of());
            ours[i] = last.median;
            if (hasPeer) {
                lastPeer = run(java.util.Objects.requireNonNull(peer), floor.parameters(), floor.peerThreads());
                others[i] = lastPeer.median;
                ratios[i] = ours[i] / others[i];
            }
        }
        Score score = java.util.Objects.requireNonNull(last);
        return new Row(
                floor,
                median(ours),
                score.bytes,
                hasPeer ? median(others) : Double.NaN,
                lastPeer == null ? "" : lastPeer.threads,
                hasPeer ? median(ratios) : Double.NaN,
                score.unit);
    }

    private static boolean isThere(String benchmark) {
        try {
            Class.forName(Report.class.getPackageName() + "." + benchmark.substring(0, benchmark.indexOf('.')));
            return true;
        } catch (ClassNotFoundException e) {
            return false; // built without the profile "peers"
        }
    }

    private static Score run(String benchmark, Map<String, String> parameters, List<String> threads)
            throws RunnerException {
        ChainedOptionsBuilder options = new OptionsBuilder()
                .include("\\." + Pattern.quote(benchmark) + "$")
                .forks(1)
                .warmupIterations(10)
                .warmupTime(TimeValue.milliseconds(300))
                .measurementIterations(15)
                .measurementTime(TimeValue.milliseconds(200))
                .addProfiler(GCProfiler.class)
                .shouldFailOnError(true)
                .verbosity(VerboseMode.SILENT);
        parameters.forEach(options::param);
        if (!threads.isEmpty()) {
            options.param("threads", threads.toArray(new String[0]));
        }
        Collection<RunResult> results = new Runner(options.build()).run();
        Score best = null;
        for (RunResult r : results) {
            double[] scores = r.getBenchmarkResults().stream()
                    .flatMap(fork -> fork.getIterationResults().stream())
                    .mapToDouble(iteration -> iteration.getPrimaryResult().getScore())
                    .toArray();
            Score score = new Score(
                    median(scores),
                    r.getSecondaryResults().containsKey("gc.alloc.rate.norm")
                            ? r.getSecondaryResults().get("gc.alloc.rate.norm").getScore()
                            : Double.NaN,
                    threads.isEmpty() ? "" : r.getParams().getParam("threads"),
                    r.getPrimaryResult().getScoreUnit());
            best = best == null || score.median < best.median ? score : best;
        }
        return java.util.Objects.requireNonNull(best, benchmark);
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int n = sorted.length;
        return (sorted[n / 2] + sorted[(n - 1) / 2]) / 2;
    }

    // ---------------------------------------------------------------- output

    private static String line(Row r) {
        String unit = r.unit.replace("/op", "");
        Floor f = r.floor;
        List<String> limits = new ArrayList<>();
        if (f.limit() != null) {
            limits.add("≤ " + number(f.limit()) + " " + unit);
        }
        if (f.ratio() != null) {
            limits.add("ratio ≤ " + number(f.ratio()));
        }
        if (f.bytes() != null) {
            limits.add("≤ " + number(f.bytes()) + " B");
        }
        return String.join(
                " | ",
                "| " + f.question(),
                number(r.ours) + " " + unit,
                Double.isNaN(r.bytes) ? "" : number(r.bytes) + " B",
                Double.isNaN(r.peer)
                        ? ""
                        : number(r.peer) + " " + unit
                                + (r.peerThreads.isEmpty() ? "" : " (" + r.peerThreads + " threads)"),
                Double.isNaN(r.ratio) ? "" : String.format(Locale.ROOT, "%.2f", r.ratio),
                String.join(", ", limits),
                (r.met() ? "yes" : "**no**") + " |");
    }

    private static String number(double value) {
        return value >= 100 || value == Math.rint(value)
                ? String.format(Locale.ROOT, "%.0f", value)
                : String.format(Locale.ROOT, "%.3g", value);
    }

    private static void write(List<Row> rows, int rounds) throws IOException {
        String date = LocalDate.now().toString();
        String cpu = cpu();
        Path folder = Files.createDirectories(Path.of("benchmarks", "results"));
        String name = date + "-"
                + cpu.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
        List<String[]> machine = List.of(
                new String[] {"date", date},
                new String[] {"commit", System.getProperty("merapi.commit", "unknown")},
                new String[] {"cpu", cpu},
                new String[] {
                    "processors", Integer.toString(Runtime.getRuntime().availableProcessors())
                },
                new String[] {"threads", Integer.toString(dev.merapi.cpu.Cpu.threads())},
                new String[] {"instructions", dev.merapi.cpu.Cpu.instructionSet()},
                new String[] {"jvm", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version")},
                new String[] {"rounds", Integer.toString(rounds)},
                new String[] {"omp_wait_policy", String.valueOf(System.getenv("OMP_WAIT_POLICY"))});
        StringBuilder json = new StringBuilder("{\n");
        StringBuilder table = new StringBuilder("# Floors\n\n");
        for (String[] fact : machine) {
            json.append("  ")
                    .append(quoted(fact[0]))
                    .append(": ")
                    .append(quoted(fact[1]))
                    .append(",\n");
            table.append("- ").append(fact[0]).append(": ").append(fact[1]).append('\n');
        }
        table.append(
                "\n| what | Merapi | garbage | beside it | ratio | floor | met |\n|---|---|---|---|---|---|---|\n");
        json.append("  \"rows\": [\n");
        for (int i = 0; i < rows.size(); i++) {
            table.append(line(rows.get(i))).append('\n');
            json.append("    ").append(json(rows.get(i))).append(i + 1 < rows.size() ? ",\n" : "\n");
        }
        Files.writeString(folder.resolve(name + ".json"), json.append("  ]\n}\n"));
        Files.writeString(folder.resolve(name + ".md"), table);
        System.out.println("written: " + folder.resolve(name) + ".json and .md");
    }

    private static String json(Row r) {
        Floor f = r.floor;
        return "{\"question\": " + quoted(f.question()) + ", \"benchmark\": " + quoted(f.ours()) + ", \"ours\": "
                + value(r.ours) + ", \"unit\": " + quoted(r.unit) + ", \"bytes\": " + value(r.bytes) + ", \"peer\": "
                + (f.peer() == null ? "null" : quoted(f.peer())) + ", \"peer_score\": " + value(r.peer)
                + ", \"peer_threads\": " + quoted(r.peerThreads) + ", \"ratio\": " + value(r.ratio) + ", \"limit\": "
                + value(f.limit()) + ", \"ratio_limit\": " + value(f.ratio()) + ", \"bytes_limit\": " + value(f.bytes())
                + ", \"met\": " + r.met() + "}";
    }

    private static String value(@Nullable Double d) {
        return d == null || d.isNaN() ? "null" : String.format(Locale.ROOT, "%.5g", d);
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private static String cpu() throws IOException {
        Path info = Path.of("/proc/cpuinfo");
        if (Files.isReadable(info)) {
            for (String line : Files.readAllLines(info)) {
                if (line.startsWith("model name")) {
                    return line.substring(line.indexOf(':') + 1).strip();
                }
            }
        }
        return System.getProperty("os.arch");
    }
}
