// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The session of a GPU from its beginning to its end, on a driver that does nothing: every step is there, finds its tests or questions,
 * compiles its kernels with NVIDIA's compiler where there is one, and leaves its results. The results are garbage, so that what
 * compares numbers has to fail, and nothing else may.
 */
class SessionTest {
    /** What a bundle's runtime has; without java.desktop nothing is drawn. */
    private static final String MODULES =
            "java.base,java.logging,java.management,java.xml,jdk.management,jdk.unsupported,jdk.zipfs";

    private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();
    private static final boolean COMPILES =
            System.getProperty("java.class.path").contains("cuda-redist");

    @TempDir
    static Path folder;

    /** Outside of {@link #folder}, where JUnit would warn of each link. */
    private static final Path TARGET = Path.of("target", "session").toAbsolutePath();

    private static final Path BUNDLE = TARGET.resolve("bundle");
    private static Path driver = Path.of("");

    /** As scripts/bundle packs it, but for links instead of files. */
    @BeforeAll
    static void bundle() throws IOException, InterruptedException {
        assumeTrue(Files.exists(ROOT.resolve("scripts/carry/run.sh")), "skipped: the sources are not here");
        assumeTrue(onThePath("cc"), "skipped: the driver that does nothing needs a C compiler, cc");
        if (Files.exists(BUNDLE)) {
            try (Stream<Path> old = Files.walk(BUNDLE)) {
                old.sorted(Comparator.reverseOrder()).forEach(f -> f.toFile().delete());
            }
        }
        Files.createDirectories(BUNDLE);
        driver = Files.createDirectories(folder.resolve("driver"));
        NullCuda.build(driver, !COMPILES);
        Files.createSymbolicLink(BUNDLE.resolve("jre"), Path.of(System.getProperty("java.home")));
        Files.copy(ROOT.resolve("scripts/carry/run.sh"), BUNDLE.resolve("run.sh"));
        Files.copy(ROOT.resolve("benchmarks/peers/pytorch_bench.py"), BUNDLE.resolve("pytorch_bench.py"));
        Files.writeString(BUNDLE.resolve("commit"), "test\n");
        Files.writeString(BUNDLE.resolve("system"), output("uname", "-s", "-m"));
        Path lib = Files.createDirectories(BUNDLE.resolve("lib"));
        List<String> classPath = new ArrayList<>();
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (Files.exists(Path.of(entry))) {
                String name = classPath.size() + "-" + Path.of(entry).getFileName();
                Files.createSymbolicLink(lib.resolve(name), Path.of(entry).toAbsolutePath());
                classPath.add("lib/" + name);
            }
        }
        Files.write(BUNDLE.resolve("class-path"), classPath);
        Path results = Files.createDirectories(BUNDLE.resolve("results"));
        Files.writeString(
                results.resolve("pytorch-none.jsonl"),
                """
                {"fact": "torch", "value": "2.0"}
                {"key": "host_add_8", "value": 1000000000.0, "unit": "µs"}
                """); // "none" is the name of the device of the driver that does nothing
        Path tests = Files.createDirectories(BUNDLE.resolve("tests"));
        for (String module : List.of("native-cuda", "examples")) {
            Path classes = ROOT.resolve(module).resolve("target/test-classes");
            assertTrue(Files.isDirectory(classes), classes + " is built before this module");
            Files.createSymbolicLink(tests.resolve("merapi-" + module + "-tests.jar"), classes);
        }
    }

    private static boolean onThePath(String tool) {
        return Stream.of(System.getenv("PATH").split(File.pathSeparator))
                .anyMatch(f -> Files.isExecutable(Path.of(f, tool)));
    }

    private static String output(String... command) throws IOException {
        Process p = new ProcessBuilder(command).start();
        return new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }

    private static ProcessBuilder session(Path out, String... options) {
        List<String> command =
                new ArrayList<>(List.of("sh", BUNDLE.resolve("run.sh").toString(), "session", "--out", out.toString()));
        command.addAll(List.of(options));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        Map<String, String> environment = builder.environment();
        environment.put("LD_LIBRARY_PATH", driver.toString());
        environment.put("MERAPI_CUDA_LIBRARIES", driver.toString());
        environment.put("MERAPI_CACHE", TARGET.resolve("cache").toString());
        environment.put("MERAPI_PYTHON", "none");
        environment.put("JAVA_OPTS", "-XX:TieredStopAtLevel=1 --limit-modules " + MODULES);
        return builder;
    }

    private static final String TRAIN_BEGAN = "\"step\": \"train\", \"began\"";

    @Test
    void everyStepRuns() throws IOException, InterruptedException {
        Path out = folder.resolve("all");
        Process p = session(out, "--tiny").start();
        String printed = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(1, p.waitFor(), printed); // garbage has to be seen

        List<String> lines = Files.readAllLines(out.resolve("session.jsonl"));
        for (SessionSteps step : SessionSteps.all(true)) {
            String result = lines.stream()
                    .filter(line -> line.startsWith("{\"step\": \"" + step.name() + "\", \"result\""))
                    .findFirst()
                    .orElseThrow(() -> new AssertionError(step.name() + " has no result:\n" + printed));
            switch (step.command().get(0)) {
                case "test" -> assertTrue(result.matches(".*\"result\": \"(ok|FAILED)\".*\\d+ passed, .*"), result);
                case "torch", "sanitize" -> assertTrue(result.contains("\"left out\""), result);
                default -> {
                    boolean leftOut = step.name().equals("epilogues") && result.contains("\"left out\""); // no library
                    assertTrue(result.contains("\"ok\"") || leftOut, result + "\n" + printed);
                }
            }
        }
        for (String line : lines) {
            assertTrue(
                    !line.startsWith("{\"failed\"")
                            || line.contains("AssertionFailedError\"")
                            || line.contains("AssertionError\""),
                    () -> "not for the numbers' sake: " + line);
        }
        String answers = Files.readString(out.resolve("device.jsonl"));
        assertFalse(answers.contains("failure"), answers);
        assertTrue(answers.contains("\"gpt2_step_bf16_graph\""), answers);
        assertTrue(
                Files.readString(out.resolve("device.md")).contains("- peer torch: 2.0"), "the peer is carried along");
        assertTrue(printed.contains("its figures for this device were carried along"), printed);

        List<Path> files;
        try (Stream<Path> all = Files.walk(out)) {
            files = all.filter(Files::isRegularFile).toList();
        }
        assertTrue(files.size() <= 8, files.toString());
        List<String> summary = Files.readAllLines(out.resolve("summary.txt"));
        assertTrue(summary.size() <= 80 && printed.contains(String.join("\n", summary)), printed);
        assumeTrue(COMPILES, "skipped in part: without cuda-redist on the class path no kernel was compiled");
    }

    @Test
    void nothingIsLostWhenItIsKilled() throws IOException, InterruptedException {
        Path out = folder.resolve("killed");
        Process p = session(out, "--tiny", "--only", "libraries", "train").start();
        try (BufferedReader in = p.inputReader()) {
            String first = in.readLine();
            assertTrue(first != null && first.startsWith("libraries   ok"), first);
            Path lines = out.resolve("session.jsonl");
            for (int tries = 0; tries < 600 && !Files.readString(lines).contains(TRAIN_BEGAN); tries++) {
                Thread.sleep(50); // the next step begins after the line of the last one was printed
            }
            List<ProcessHandle> all = p.descendants().collect(Collectors.toList());
            all.add(p.toHandle());
            all.forEach(ProcessHandle::destroyForcibly);
            assertTrue(p.waitFor(10, TimeUnit.SECONDS));
        }
        assertTrue(Files.readString(out.resolve("summary.txt")).startsWith("libraries   ok"));
        assertTrue(Files.readString(out.resolve("session.log")).contains("CUDA folders:"));
        assertTrue(Files.readString(out.resolve("session.jsonl")).contains(TRAIN_BEGAN));
    }

    @Test
    void theStepsAreDocumented() throws IOException {
        String guide = Files.readString(ROOT.resolve("docs/gpu.md"));
        for (SessionSteps step : SessionSteps.all(false)) {
            assertTrue(
                    guide.lines()
                            .anyMatch(line -> line.startsWith("| `")
                                    && line.contains("`" + step.name() + "`")
                                    && line.contains(" | " + step.seconds() + " | ")),
                    step.name() + ", " + step.seconds() + " s");
        }
    }

    @Test
    void stepsThatThereAreNot() throws IOException, InterruptedException {
        Process p = session(folder.resolve("none"), "--only", "gtp2").start();
        String printed = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(2, p.waitFor());
        assertTrue(printed.contains("no step gtp2") && printed.contains("libraries device gpt2"), printed);
    }
}
