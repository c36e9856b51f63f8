// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.backend.Backends;
import dev.merapi.error.DeviceException;
import dev.merapi.types.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

/**
 * The examples learn on a GPU, step by step and captured, in every precision; with
 * {@code -Dmerapi.examples.device=cuda-sim} on the simulator, in minutes.
 */
@Tag("gpu")
final class GpuTrainingTest {
    private static final String DEVICE = System.getProperty("merapi.examples.device", "cuda");

    @TempDir
    Path folder;

    @BeforeAll
    static void device() {
        try {
            Backends.of(Device.of(DEVICE).type());
        } catch (DeviceException e) {
            if (!System.getProperty("require.gpu", "false").equals("false")) {
                fail("-Drequire.gpu: a GPU is required: " + e.getMessage());
            }
            assumeTrue(
                    false,
                    "no GPU: "
                            + String.valueOf(e.getMessage()).lines().findFirst().orElse(""));
        }
    }

    private double lastLoss(String run, int column, Object example, List<String> options, boolean captured)
            throws IOException {
        List<String> all = new ArrayList<>(options);
        all.addAll(List.of("--device=" + DEVICE, "--out=" + folder.resolve("runs/" + run)));
        if (captured) {
            all.add("--graph");
        }
        assertThat(new CommandLine(example).execute(all.toArray(new String[0]))).isZero();
        List<String> rows = Files.readAllLines(folder.resolve("runs/" + run + "/metrics.csv"));
        return Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[column]);
    }

    @ParameterizedTest
    @CsvSource({"f32, false", "f32, true", "bf16, false", "bf16, true", "f16, false"})
    void theGptLearnsAnEasyText(String precision, boolean captured) throws IOException {
        Path text = Files.createDirectory(folder.resolve("text"));
        for (int i = 0; i < 20; i++) {
            Files.writeString(
                    text.resolve("F" + (char) ('A' + i) + ".java"), "    /**\n     * tick tock\n     */\n".repeat(40));
        }
        List<String> options = List.of(
                "--text=" + text,
                "--precision=" + precision,
                "--steps=60",
                "--layers=1",
                "--width=32",
                "--heads=1",
                "--context=16",
                "--warmup=10",
                "--lr=1e-2",
                "--test-every=30",
                "--tokens=5");
        assertThat(lastLoss("gpt", 2, new TrainGpt(), options, captured)).isLessThan(0.8);
    }

    @ParameterizedTest
    @CsvSource({"false", "true"})
    void theNetworkLearnsTheSubsetOfFashionMnist(boolean captured) throws IOException {
        List<String> options = List.of("--subset", "--steps=93", "--batch=32");
        assertThat(lastLoss("fashion", 3, new TrainFashion(), options, captured))
                .as("accuracy; chance is 0.1")
                .isGreaterThan(0.6);
    }
}
