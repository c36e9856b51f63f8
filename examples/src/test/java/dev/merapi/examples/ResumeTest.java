// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.train.Checkpoints;
import dev.merapi.train.RunDirectory;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A run that is killed again and again ends as one that was left alone, bit for bit. {@code -Dmerapi.test.kills=50} kills
 * more often.
 */
final class ResumeTest {
    private static final int KILLS = Integer.getInteger("merapi.test.kills", 5);
    private static final int STEPS = 60 + 8 * KILLS;

    @TempDir
    Path folder;

    private List<String> options;

    @BeforeEach
    void writeText() throws IOException {
        Path text = Files.createDirectory(folder.resolve("text"));
        for (int i = 0; i < 20; i++) {
            Files.writeString(
                    text.resolve("F" + (char) ('A' + i) + ".java"),
                    ("    /**\n     * tick tock " + i + "\n     */\n").repeat(40));
        }
        options = List.of(
                "--text=" + text,
                "--steps=" + STEPS,
                "--layers=1",
                "--width=32",
                "--heads=2",
                "--context=16",
                "--warmup=10",
                "--lr=1e-2",
                "--test-every=30",
                "--tokens=5",
                "--checkpoint-every=1");
    }

    private Process start(int threads, List<String> arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-Djava.awt.headless=true",
                "-Dmerapi.cpu.threads=" + threads,
                "-cp",
                System.getProperty("java.class.path"),
                TrainGpt.class.getName()));
        command.addAll(arguments);
        File said = folder.resolve("said.txt").toFile();
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(said))
                .start();
    }

    private String said() throws IOException {
        return Files.readString(folder.resolve("said.txt"), StandardCharsets.UTF_8);
    }

    private static long step(Path run) throws IOException {
        for (int attempt = 0; ; attempt++) {
            try {
                return Checkpoints.in(run.resolve("checkpoints"))
                        .latest()
                        .map(Checkpoints.Saved::step)
                        .orElse(0L);
            } catch (IOException e) { // one was removed while we looked
                if (attempt == 20) {
                    throw e;
                }
            }
        }
    }

    @Test
    void killedAgainAndAgainItEndsAsIfNothingHadHappened() throws Exception {
        List<String> alone = new ArrayList<>(options);
        alone.add("--out=" + folder.resolve("alone/gpt"));
        assertThat(Launch.run(new TrainGpt(), alone.toArray(new String[0]))).isZero();
        Path expected = folder.resolve("alone/gpt");

        Path run = folder.resolve("runs/gpt");
        List<String> first = new ArrayList<>(options);
        first.add("--out=" + folder.resolve("runs/gpt"));
        Random random = new Random(42);
        for (int kill = 0; kill < KILLS; kill++) {
            Process process = start(1 + kill % 2, kill == 0 ? first : List.of("--resume", run.toString()));
            long until = step(run) + 1 + random.nextInt(6);
            while (process.isAlive() && step(run) < until) {
                Thread.sleep(1);
            }
            assertThat(process.isAlive()).as(said()).isTrue();
            if (kill == 0) {
                assertThatThrownBy(() -> RunDirectory.open(run))
                        .isInstanceOf(IOException.class)
                        .hasMessageContaining("another process: process " + process.pid());
            }
            TimeUnit.MICROSECONDS.sleep(random.nextInt(20_000)); // in a step, in a save, between them
            process.destroyForcibly().waitFor();
        }

        // The last but one is asked to stop, and says how to go on.
        Process asked = start(2, List.of("--resume", run.toString()));
        long before = step(run);
        while (asked.isAlive() && step(run) < before + 2) {
            Thread.sleep(1);
        }
        asked.destroy();
        assertThat(asked.waitFor(30, TimeUnit.SECONDS)).isTrue();
        assertThat(asked.exitValue()).isEqualTo(128 + 15);
        assertThat(said()).contains("stopped after step " + step(run) + "; go on with: scripts/train gpt --resume ");

        assertThat(start(1, List.of("--resume=" + run)).waitFor()).as(said()).isZero();
        assertThat(Files.readAllLines(run.resolve("metrics.csv")))
                .isEqualTo(Files.readAllLines(expected.resolve("metrics.csv")));
        for (String file : List.of("weights.safetensors", String.format("checkpoints/step-%09d.safetensors", STEPS))) {
            assertThat(Files.mismatch(run.resolve(file), expected.resolve(file)))
                    .as(file)
                    .isEqualTo(-1);
        }
        try (Stream<Path> left = Files.walk(run)) {
            assertThat(left.filter(p -> p.getFileName().toString().contains(".draft-")))
                    .isEmpty();
        }
    }

    @Test
    void aFinishedRunStaysAsItIsAndGoesOnIfMoreIsAskedFor() throws IOException {
        List<String> all = new ArrayList<>(options);
        all.add("--out=" + folder.resolve("runs/gpt"));
        all.add("--steps=20");
        all.remove("--steps=" + STEPS);
        assertThat(Launch.run(new TrainGpt(), all.toArray(new String[0]))).isZero();
        String run = folder.resolve("runs/gpt").toString();
        byte[] weights = Files.readAllBytes(Path.of(run, "weights.safetensors"));
        List<String> rows = Files.readAllLines(Path.of(run, "metrics.csv"));
        assertThat(Launch.run(new TrainGpt(), "--resume", run)).isZero();
        assertThat(Files.readAllBytes(Path.of(run, "weights.safetensors"))).isEqualTo(weights);
        assertThat(Files.readAllLines(Path.of(run, "metrics.csv"))).isEqualTo(rows);
        assertThat(Launch.run(new TrainGpt(), "--resume", run, "--steps=30")).isZero();
        List<String> more = Files.readAllLines(Path.of(run, "metrics.csv"));
        assertThat(more).hasSize(rows.size() + 10).startsWith(rows.get(0), rows.get(1));
        assertThat(Files.readString(Path.of(run, "config.json"))).contains("\"--steps\": \"30\"");
        assertThat(Launch.run(new TrainGpt(), "--resume", run, "--steps=10")).isEqualTo(2);
        assertThat(Launch.run(new TrainGpt(), "--resume", run + "-no")).isEqualTo(2);
        assertThat(Files.readAllLines(Path.of(run, "metrics.csv"))).isEqualTo(more);
    }
}
