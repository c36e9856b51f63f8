// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A stranger's program is killed while it trains; started again it goes on, and predicts what one that was left alone predicts. */
final class InterruptedRunTest {
    @TempDir
    Path folder;

    @Test
    void goesOnOnBothPaths() throws Exception {
        String path = Stranger.built().path();
        List<String> classPath = List.of("--enable-native-access=ALL-UNNAMED", "-cp", path, "stranger.Training");
        List<String> modulePath = List.of(
                "--enable-native-access=dev.merapi.cpu,org.bytedeco.javacpp",
                "-p",
                path,
                "-m",
                "stranger/stranger.Training");
        String expected = finished(start(classPath, folder.resolve("alone"), 0));
        assertThat(expected).startsWith("from 0").contains("predicts [");
        for (List<String> how : List.of(classPath, modulePath)) {
            Path run = folder.resolve(how == classPath ? "classes" : "modules");
            Process killed = start(how, run, 20);
            while (killed.isAlive() && checkpoints(run) < 2) {
                Thread.sleep(2);
            }
            assertThat(killed.isAlive()).as("it was still training").isTrue();
            killed.destroyForcibly().waitFor();
            String said = finished(start(how, run, 0));
            assertThat(said).doesNotStartWith("from 0");
            assertThat(said.lines().skip(1))
                    .containsExactlyElementsOf(expected.lines().skip(1).toList());
            assertThat(Files.readAllLines(run.resolve("metrics.csv")))
                    .isEqualTo(Files.readAllLines(folder.resolve("alone/metrics.csv")));
        }
    }

    private static long checkpoints(Path run) throws IOException {
        Path all = run.resolve("checkpoints");
        if (!Files.isDirectory(all)) {
            return 0;
        }
        try (Stream<Path> files = Files.list(all)) {
            return files.filter(f -> f.getFileName().toString().startsWith("step-"))
                    .count();
        }
    }

    private static Process start(List<String> how, Path run, int pause) throws IOException {
        List<String> command = new ArrayList<>(
                List.of(Jdk.all().get(0).home().resolve("bin/java").toString()));
        command.addAll(how);
        command.addAll(List.of(run.toString(), String.valueOf(pause)));
        return new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    private static String finished(Process process) throws IOException, InterruptedException {
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(said).isZero();
        return said;
    }
}
