// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import dev.merapi.Merapi;
import dev.merapi.io.Safetensors;
import dev.merapi.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The examples run, learn something, and leave what they promise; on little data. */
final class TrainingRunsTest {
    @TempDir
    Path folder;

    @Test
    void theGptLearnsAnEasyTextAndLeavesItsFiles() throws IOException {
        Path text = Files.createDirectory(folder.resolve("text"));
        for (int i = 0; i < 20; i++) {
            Files.writeString(
                    text.resolve("F" + (char) ('A' + i) + ".java"), "    /**\n     * tick tock\n     */\n".repeat(40));
        }
        int exit = new CommandLine(new TrainGpt())
                .execute(
                        "--text=" + text,
                        "--runs=" + folder.resolve("runs"),
                        "--steps=60",
                        "--layers=1",
                        "--width=32",
                        "--heads=2",
                        "--context=16",
                        "--warmup=10",
                        "--lr=1e-2",
                        "--test-every=30",
                        "--sample=20");
        assertThat(exit).isZero();
        Path run = folder.resolve("runs/gpt");
        List<String> rows = Files.readAllLines(run.resolve("metrics.csv"));
        assertThat(rows.get(0)).isEqualTo("step,loss,held_out_loss,learning_rate,gradient_norm");
        double first = Double.parseDouble(rows.get(1).split(",")[2]);
        double last = Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[2]);
        assertThat(first).isGreaterThan(2);
        assertThat(last).isLessThan(0.7);
        assertThat(ImageIO.read(run.resolve("loss.png").toFile()).getWidth()).isEqualTo(1000);
        Map<String, Tensor> weights = Safetensors.load(run.resolve("weights.safetensors"));
        assertThat(weights).containsKeys("tokens.weight", "block0.attention.qkv.weight", "norm.bias");
    }

    /** Such as verses, or genes: there is nothing in them that a comment of Java begins with. */
    @Test
    void aTextOfOtherCharactersIsWrittenToo() throws IOException {
        for (String line : List.of("acgt", "so it goes\n")) {
            Path text = Files.createDirectories(folder.resolve("text"));
            for (int i = 0; i < 20; i++) {
                Files.writeString(text.resolve("F" + (char) ('A' + i) + ".java"), line.repeat(40));
            }
            int exit = new CommandLine(new TrainGpt())
                    .execute(
                            "--text=" + text,
                            "--runs=" + folder.resolve("runs"),
                            "--steps=2",
                            "--layers=1",
                            "--width=8",
                            "--heads=1",
                            "--context=8",
                            "--sample=4");
            assertThat(exit).isZero();
        }
        assertThat(folder.resolve("runs/gpt-2/weights.safetensors")).exists();
    }

    @Test
    void theNetworkLearnsTheSubsetOfFashionMnist() throws IOException {
        int exit = new CommandLine(new TrainFashion())
                .execute("--subset", "--epochs=3", "--batch=32", "--runs=" + folder.resolve("runs"));
        assertThat(exit).isZero();
        List<String> rows = Files.readAllLines(folder.resolve("runs/fashion/metrics.csv"));
        double accuracy = Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[3]);
        assertThat(accuracy).isGreaterThan(0.6); // chance is 0.1
        assertThat(folder.resolve("runs/fashion/weights.safetensors")).exists();
    }

    @Test
    void aCapturedStepLearnsTheSame() throws IOException {
        List<String> options = List.of("--subset", "--epochs=1", "--batch=128", "--runs=" + folder.resolve("runs"));
        for (String name : List.of("plain", "captured")) {
            List<String> all = new ArrayList<>(options);
            all.add("--name=" + name);
            if (name.equals("captured")) {
                all.add("--graph");
            }
            assertThat(new CommandLine(new TrainFashion()).execute(all.toArray(new String[0])))
                    .isZero();
        }
        assertThat(Files.readAllLines(folder.resolve("runs/captured/metrics.csv")))
                .isEqualTo(Files.readAllLines(folder.resolve("runs/plain/metrics.csv")));
    }

    @Test
    void theGptLearnsInMixedPrecisionToo() throws IOException {
        Path text = Files.createDirectory(folder.resolve("text"));
        for (int i = 0; i < 20; i++) {
            Files.writeString(
                    text.resolve("F" + (char) ('A' + i) + ".java"), "    /**\n     * tick tock\n     */\n".repeat(40));
        }
        for (String precision : List.of("bf16", "f16", "bf16-params")) {
            int exit = new CommandLine(new TrainGpt())
                    .execute(
                            "--text=" + text,
                            "--runs=" + folder.resolve("runs"),
                            "--name=" + precision,
                            "--precision=" + precision,
                            "--steps=60",
                            "--layers=1",
                            "--width=32",
                            "--heads=2",
                            "--context=16",
                            "--warmup=10",
                            "--lr=1e-2",
                            "--test-every=30",
                            "--sample=5");
            assertThat(exit).isZero();
            List<String> rows = Files.readAllLines(folder.resolve("runs/" + precision + "/metrics.csv"));
            double last = Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[2]);
            assertThat(last).isLessThan(0.7);
        }
        assertThat(new CommandLine(new TrainGpt()).execute("--precision=f8")).isNotZero();
    }

    @Test
    void whatTheUserCanPutRightIsSaidInOneLineAndLeavesNothingBehind() {
        String file = folder.resolve("no").toString();
        Map<String, String> mistakes = Map.ofEntries(
                Map.entry("--device=tpu:3", "--device tpu:3 cannot be used: "),
                Map.entry("--text=" + file, "--text " + file + ": there is no such file or folder"),
                Map.entry("--steps=-5", "--steps -5: must be at least 1"),
                Map.entry("--warmup=9999", "--warmup 9999: "),
                Map.entry("--heads=3", "--layers 4 --width 128 --heads 3: "),
                Map.entry("--precision=f8", "--precision f8: is none of "),
                Map.entry("--lr=NaN", "--lr NaN: must be greater than 0"),
                Map.entry("--name=a/b", "--runs " + folder + " --name a/b: "));
        mistakes.forEach((option, text) ->
                assertThat(refusal(new TrainGpt(), option, "--runs=" + folder)).startsWith("train gpt: " + text));
        assertThat(refusal(new TrainFashion(), "--data=" + file, "--runs=" + folder))
                .startsWith("train fashion: --data " + file + ": ");
        assertThat(refusal(new TrainFashion(), "--subset", "--batch=5000", "--runs=" + folder))
                .startsWith("train fashion: --batch 5000: there are only 1000 images");
        assertThat(folder).isEmptyDirectory();
    }

    /** The one line on stderr. */
    private static String refusal(Callable<Integer> example, String... arguments) {
        PrintStream before = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setErr(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            assertThat(Launch.run(example, arguments)).isEqualTo(2);
        } finally {
            System.setErr(before);
        }
        List<String> lines =
                said.toString(StandardCharsets.UTF_8).strip().lines().toList();
        assertThat(lines).hasSize(1);
        return lines.get(0);
    }

    @Test
    void fewStepsNeedNoOtherOption() throws IOException {
        Path text = Files.createDirectory(folder.resolve("text"));
        for (int i = 0; i < 20; i++) {
            Files.writeString(
                    text.resolve("F" + (char) ('A' + i) + ".java"), "    /**\n     * tick tock\n     */\n".repeat(20));
        }
        assertThat(Launch.run(
                        new TrainGpt(),
                        "--steps=5",
                        "--layers=1",
                        "--width=32",
                        "--context=16",
                        "--batch=2",
                        "--sample=5",
                        "--text=" + text,
                        "--runs=" + folder.resolve("runs")))
                .isZero();
    }

    @Test
    void theVersionIsTold() {
        PrintStream before = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            assertThat(Launch.run(new TrainGpt(), "--version")).isZero();
        } finally {
            System.setOut(before);
        }
        assertThat(said.toString(StandardCharsets.UTF_8).strip()).isEqualTo("Merapi " + Merapi.version());
    }

    @Test
    void theCustomOpPassesItsCheck() {
        assertThatCode(() -> CustomOp.main(new String[0])).doesNotThrowAnyException();
    }
}
