// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The first minutes on a GPU: does the {@link SessionSteps} one after the other, each as a process of its own with an end to its
 * time, and writes down what comes of it as it comes. Whatever stops a step, or the session, takes nothing with it. See
 * docs/gpu.md; {@code run.sh session} starts it.
 */
public final class Session {
    private static final String USAGE = """
            session [--only STEP…] [--checked] [--out FOLDER] [--seconds N] [--tiny]
              --only     these steps; default: all of them
              --checked  each launch is waited for, so that the kernel that fails is the one that is named
              --out      default: merapi-session, with a number if that is there
              --seconds  after which no more is done; default 480
              --tiny     sizes at which times mean nothing, to see that all of it runs
            steps, in this order:""";

    /** What a process ends with that has nothing to do here: its last line says why. */
    static final int LEFT_OUT = 3;

    private static final long LOG_OF_A_STEP = 1 << 20;

    private final Path bundle =
            Path.of(System.getProperty("merapi.bundle", ".")).toAbsolutePath();
    private final long began = System.nanoTime();
    private final SessionSummary summary = new SessionSummary();
    private final List<SessionSteps> steps;
    private final Path out;
    private final Path work;
    private final int seconds;
    private final boolean checked;
    private final boolean chosen;
    private volatile @Nullable Process running;
    private boolean over;

    private Session(List<SessionSteps> steps, Path out, int seconds, boolean checked, boolean chosen)
            throws IOException {
        this.steps = steps;
        this.out = out;
        this.seconds = seconds;
        this.checked = checked;
        this.chosen = chosen;
        work = Files.createTempDirectory("merapi-session");
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        List<String> only = new ArrayList<>();
        Path out = null;
        int seconds = 480;
        boolean checked = false;
        boolean tiny = false;
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--only" -> {
                    while (i + 1 < args.length && !args[i + 1].startsWith("--")) {
                        only.add(args[++i]);
                    }
                }
                case "--checked" -> checked = true;
                case "--tiny" -> tiny = true;
                case "--out", "--seconds" -> {
                    if (i + 1 == args.length) {
                        refuse("session: " + args[i] + " needs a value");
                    }
                    if (args[i].equals("--out")) {
                        out = Path.of(args[++i]);
                    } else {
                        seconds = Integer.parseInt(args[++i]);
                    }
                }
                default -> refuse(args[i].equals("--help") ? "" : "session: no option " + args[i]);
            }
        }
        List<SessionSteps> steps = SessionSteps.all(tiny);
        for (String name : only) {
            if (steps.stream().noneMatch(step -> step.name().equals(name))) {
                refuse("session: no step " + name);
            }
        }
        steps = steps.stream()
                .filter(step -> only.isEmpty() || only.contains(step.name()))
                .toList();
        Session session = new Session(steps, folder(out), seconds, checked, !only.isEmpty());
        Runtime.getRuntime().addShutdownHook(new Thread(session::close));
        session.run();
        System.exit(session.summary.allWell() ? 0 : 1);
    }

    private static void refuse(String message) {
        StringBuilder text = new StringBuilder(message).append('\n').append(USAGE);
        SessionSteps.all(false).forEach(step -> text.append(' ').append(step.name()));
        System.err.println(text.toString().strip());
        System.exit(message.isEmpty() ? 0 : 2);
    }

    private static Path folder(@Nullable Path given) throws IOException {
        Path folder = given == null ? Path.of("merapi-session") : given;
        for (int i = 2; given == null && Files.exists(folder); i++) {
            folder = Path.of("merapi-session-" + i);
        }
        return Files.createDirectories(folder).toAbsolutePath();
    }

    private void run() throws IOException, InterruptedException {
        for (SessionSteps step : steps) {
            double left = seconds - passed();
            if (left < 5) {
                tell(new SessionSummary.Outcome(step.name(), "not run", "the session's time is up", 0, List.of()));
                continue;
            }
            Answers.append(results(), "{\"step\": \"" + step.name() + "\", \"began\": \"" + Instant.now() + "\"}");
            tell(outcome(step, (int) Math.min(step.seconds(), left)));
        }
    }

    private double passed() {
        return (System.nanoTime() - began) * 1e-9;
    }

    private Path results() {
        return out.resolve("session.jsonl");
    }

    private Path answers() {
        return out.resolve("device.jsonl");
    }

    private void tell(SessionSummary.Outcome outcome) throws IOException {
        Answers.append(results(), outcome.json());
        System.out.println(outcome.line());
        synchronized (summary) {
            summary.add(outcome);
        }
        write();
    }

    /** The summary so far, and the table of answers beside PyTorch's. */
    private void write() throws IOException {
        String text;
        synchronized (summary) {
            text = summary.text(answers(), peers());
        }
        Path fresh = Files.writeString(out.resolve("summary.new"), text);
        Files.move(fresh, out.resolve("summary.txt"), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        if (Files.exists(answers())) {
            DeviceTable.write(answers(), peers());
        }
    }

    /** Of this session, else carried along. */
    private @Nullable Path peers() throws IOException {
        Path fresh = out.resolve(pytorch());
        Path kept = bundle.resolve("results").resolve(pytorch());
        return Files.exists(fresh) ? fresh : Files.exists(kept) ? kept : null;
    }

    /** Named after the device, once one has answered: its figures are good for every later session on such a device. */
    private String pytorch() throws IOException {
        String name = Files.exists(answers()) ? Answers.read(answers()).facts().get("name") : null;
        return name == null ? "pytorch.jsonl" : "pytorch-" + Answers.slug(name) + ".jsonl";
    }

    private SessionSummary.Outcome outcome(SessionSteps step, int limit) throws IOException, InterruptedException {
        Path kept = bundle.resolve("results").resolve(pytorch());
        if (step.name().equals("torch") && !chosen && Files.exists(kept)) {
            return new SessionSummary.Outcome(
                    step.name(), "left out", "its figures for this device were carried along", 0, List.of());
        }
        long tests = Files.size(results());
        long figures = Files.exists(answers()) ? Files.size(answers()) : 0;
        double start = passed();
        List<String> command =
                new ArrayList<>(List.of("sh", bundle.resolve("run.sh").toString()));
        command.addAll(step.command(out, pytorch()));
        ProcessBuilder builder =
                new ProcessBuilder(command).directory(work.toFile()).redirectErrorStream(true);
        Map<String, String> environment = builder.environment();
        environment.put("MERAPI_TEST_RESULTS", results().toString());
        environment.put("PYTHONUNBUFFERED", "1");
        if (checked) {
            environment.merge("JAVA_OPTS", "-Dmerapi.cuda.checked=true", (old, more) -> old + " " + more);
        }
        Process process = builder.start();
        running = process;
        process.getOutputStream().close();
        StringBuilder tail = new StringBuilder();
        Thread log = new Thread(() -> log(step, process.getInputStream(), tail), "log");
        log.start();
        boolean done = process.waitFor(limit, TimeUnit.SECONDS);
        if (!done) {
            stop(process);
        }
        running = null;
        log.join(5000);
        double took = passed() - start;
        List<String> lines = new ArrayList<>(SessionSummary.linesFrom(results(), tests));
        lines.addAll(SessionSummary.linesFrom(answers(), figures));
        String last;
        synchronized (tail) {
            last = tail.toString().strip();
        }
        int code = done ? process.exitValue() : 0;
        String result = !done ? "stopped" : code == 0 ? "ok" : code == LEFT_OUT ? "left out" : "FAILED";
        return SessionSummary.outcome(step.name(), result, code, limit, took, lines, last);
    }

    /** First asked, so that what has a last word can say it; then not. */
    private static void stop(Process process) throws InterruptedException {
        List<ProcessHandle> all = new ArrayList<>(process.descendants().toList());
        all.add(process.toHandle());
        all.forEach(ProcessHandle::destroy);
        for (int i = 0; i < 20 && all.stream().anyMatch(ProcessHandle::isAlive); i++) {
            Thread.sleep(100);
        }
        all.forEach(ProcessHandle::destroyForcibly);
        process.waitFor(5, TimeUnit.SECONDS);
    }

    /** Into the log, up to a size; the end of it is kept in mind as well. */
    private void log(SessionSteps step, InputStream in, StringBuilder tail) {
        try (OutputStream log = Files.newOutputStream(
                out.resolve("session.log"), StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            log.write(("\n==== " + step.name() + "\n").getBytes(StandardCharsets.UTF_8));
            byte[] buffer = new byte[1 << 13];
            long written = 0;
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                if (written < LOG_OF_A_STEP) {
                    log.write(buffer, 0, n);
                    written += n;
                    if (written >= LOG_OF_A_STEP) {
                        log.write("\n… the rest of this step is left out\n".getBytes(StandardCharsets.UTF_8));
                    }
                }
                synchronized (tail) {
                    tail.append(new String(buffer, 0, n, StandardCharsets.UTF_8));
                    tail.delete(0, Math.max(0, tail.length() - 2000));
                }
            }
        } catch (IOException e) {
            System.err.println("session.log: " + e.getMessage());
        }
    }

    /** At the end, or when somebody ends it: the summary as far as it goes. */
    private synchronized void close() {
        if (over) {
            return;
        }
        over = true;
        try {
            Process process = running;
            if (process != null) {
                stop(process);
                System.out.println("stopped from outside");
            }
            write();
            System.out.println("\n" + Files.readString(out.resolve("summary.txt")));
            System.out.printf(Locale.ROOT, "%.0f s; all of it in %s%n", passed(), out);
            System.out.flush();
            try (Stream<Path> files = Files.walk(work)) {
                files.sorted(Comparator.reverseOrder()).forEach(f -> f.toFile().delete());
            }
        } catch (IOException e) {
            System.err.println("session: " + e.getMessage());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
