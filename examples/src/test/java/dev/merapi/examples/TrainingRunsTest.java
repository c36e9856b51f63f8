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
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
                        "--out=" + folder.resolve("runs/gpt"),
                        "--steps=60",
                        "--layers=1",
                        "--width=32",
                        "--heads=2",
                        "--context=16",
                        "--warmup=10",
                        "--lr=1e-2",
                        "--test-every=30",
                        "--tokens=20");
        assertThat(exit).isZero();
        Path run = folder.resolve("runs/gpt");
        List<String> rows = Files.readAllLines(run.resolve("metrics.csv"));
        assertThat(rows.get(0)).isEqualTo("step,loss,held_out_loss,learning_rate,gradient_norm");
        double first = Double.parseDouble(rows.get(1).split(",")[2]);
        double last = Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[2]);
        assertThat(first).isGreaterThan(2);
        assertThat(last).isLessThan(0.7);
        for (String plot : List.of("loss", "learning_rate", "throughput")) {
            assertThat(ImageIO.read(run.resolve(plot + ".png").toFile()).getWidth())
                    .isEqualTo(1200);
        }
        String page = Files.readString(run.resolve("report.html"));
        assertThat(page)
                .contains("<td>--layers<td>1", "<td>held_out_loss<td", "what it wrote", "data:image/png;base64,")
                .doesNotContain("http:", "https:"); // opens without a network
        assertThat(run.resolve("events")).isDirectoryContaining("glob:**.tfevents.*");
        Map<String, Tensor> weights = Safetensors.load(run.resolve("weights.safetensors"));
        assertThat(weights).containsKeys("tokens.weight", "block0.attention.in_proj_weight", "norm.bias");
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
                            "--out=" + folder.resolve("runs/gpt"),
                            "--steps=2",
                            "--layers=1",
                            "--width=8",
                            "--heads=1",
                            "--context=8",
                            "--tokens=4");
            assertThat(exit).isZero();
        }
        assertThat(folder.resolve("runs/gpt-2/weights.safetensors")).exists();
    }

    @Test
    void theNetworkLearnsTheSubsetOfFashionMnist() throws IOException {
        int exit = new CommandLine(new TrainFashion())
                .execute("--subset", "--steps=93", "--batch=32", "--out=" + folder.resolve("runs/fashion"));
        assertThat(exit).isZero();
        List<String> rows = Files.readAllLines(folder.resolve("runs/fashion/metrics.csv"));
        double accuracy = Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[3]);
        assertThat(accuracy).isGreaterThan(0.6); // chance is 0.1
        assertThat(folder.resolve("runs/fashion/weights.safetensors")).exists();
        assertThat(folder.resolve("runs/fashion/confusion.png")).exists();
    }

    @Test
    void aCapturedStepLearnsTheSame() throws IOException {
        List<String> options = List.of("--subset", "--steps=7", "--batch=128");
        for (String name : List.of("plain", "captured")) {
            List<String> all = new ArrayList<>(options);
            all.add("--out=" + folder.resolve("runs/" + name));
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
        Set<String> found = new HashSet<>();
        for (String precision : List.of("f32", "bf16", "f16", "bf16-params")) {
            int exit = new CommandLine(new TrainGpt())
                    .execute(
                            "--text=" + text,
                            "--out=" + folder.resolve("runs/" + precision),
                            "--precision=" + precision,
                            "--steps=60",
                            "--layers=1",
                            "--width=32",
                            "--heads=2",
                            "--context=16",
                            "--warmup=10",
                            "--lr=1e-2",
                            "--test-every=30",
                            "--tokens=5");
            assertThat(exit).isZero();
            List<String> rows = Files.readAllLines(folder.resolve("runs/" + precision + "/metrics.csv"));
            double last = Double.parseDouble(rows.get(rows.size() - 1).split(",", -1)[2]);
            assertThat(last).isLessThan(0.7);
            assertThat(found.add(rows.get(rows.size() - 1)))
                    .as("%s computes as another does", precision)
                    .isTrue();
        }
    }

    @Test
    void whatTheUserCanPutRightIsSaidInOneLineAndLeavesNothingBehind() throws IOException {
        String file = folder.resolve("no").toString();
        Map<String, String> mistakes = Map.ofEntries(
                Map.entry("--device=tpu:3", "--device tpu:3 cannot be used: "),
                Map.entry("--text=" + file, "--text " + file + ": there is no such file or folder"),
                Map.entry("--steps=-5", "--steps -5: must be at least 1"),
                Map.entry("--warmup=-1", "--warmup -1: must be at least 0"),
                Map.entry("--threads=0", "--threads 0: must be at least 1"),
                Map.entry("--top-p=2", "--top-p 2.0: must be greater than 0, and at most 1"),
                Map.entry("--checkpoint-every=-1", "--checkpoint-every -1: must be at least 0"),
                Map.entry("--resume=" + file, "--resume " + file + ": there is no such file or folder"),
                Map.entry("--heads=3", "--layers 4 --width 128 --heads 3: "),
                Map.entry("--precision=f8", "--precision f8: is none of "),
                Map.entry("--lr=NaN", "--lr NaN: must be greater than 0"),
                Map.entry("--stps=5", "Unknown option: '--stps=5'; did you mean --steps"));
        mistakes.forEach((option, text) -> assertThat(refusal(new TrainGpt(), option, "--out=" + folder.resolve("a")))
                .startsWith("train gpt: " + text));
        Path plain = Files.writeString(folder.resolve("plain"), "");
        assertThat(refusal(new TrainGpt(), "--out=" + plain + "/run"))
                .isEqualTo("train gpt: --out " + plain + "/run: " + plain + " is a file, where a folder is needed");
        Files.delete(plain);
        assertThat(refusal(new TrainFashion(), "--data=" + file, "--out=" + folder.resolve("a")))
                .startsWith("train fashion: --data " + file + ": ");
        assertThat(refusal(new TrainFashion(), "--subset", "--batch=5000", "--out=" + folder.resolve("a")))
                .startsWith("train fashion: --batch 5000: there are only 1000 images");
        assertThat(folder).isEmptyDirectory();
    }

    /** The one line on stderr. */
    private static String refusal(Callable<Integer> example, String... arguments) {
        String said = said(example, 2, arguments);
        assertThat(said.lines()).hasSize(1);
        return said;
    }

    private static String said(Callable<Integer> example, int code, String... arguments) {
        PrintStream before = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setErr(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            assertThat(Launch.run(example, arguments)).isEqualTo(code);
        } finally {
            System.setErr(before);
        }
        return said.toString(StandardCharsets.UTF_8).strip();
    }

    /** Where something else goes wrong one line is enough, too, unless more is asked for. */
    @Test
    void aStackTraceIsToldToWhoAsksForIt() {
        Callable<Integer> broken = new Broken();
        assertThat(said(broken, 1)).isEqualTo("broken: disk full; all of it  (--debug shows where)");
        assertThat(said(broken, 1, "--debug")).contains("broken: disk full; all of it", "at dev.merapi");
    }

    @CommandLine.Command(name = "broken")
    private static final class Broken implements Callable<Integer> {
        @CommandLine.Mixin
        CommonOptions common = new CommonOptions();

        @Override
        public Integer call() {
            throw new IllegalStateException("disk full\n  all of it");
        }
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
                        "--tokens=5",
                        "--text=" + text,
                        "--out=" + folder.resolve("runs/gpt")))
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
