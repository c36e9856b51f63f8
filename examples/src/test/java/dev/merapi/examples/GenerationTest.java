// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.Vocabulary;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A saved model writes, and what it writes is what its scores say. */
final class GenerationTest {
    private static final int CONTEXT = 12;
    private static final Sampling LIKELIEST = new Sampling(0, 0, 1);

    @TempDir
    Path folder;

    private final Vocabulary vocabulary = Vocabulary.of("abcdefgh \n");
    private Gpt model;

    @BeforeEach
    void model() {
        Merapi.seed(5);
        model = new Gpt(new Gpt.Shape(vocabulary.size(), CONTEXT, 2, 16, 2));
        model.parameters().forEach(p -> p.tensor().detach().mul_(8)); // so that scores differ
    }

    private String write(Gpt by, String prompt, int characters, Sampling sampling) {
        StringBuilder text = new StringBuilder(prompt);
        new TextGenerator(by, vocabulary, Device.CPU, Precision.F32)
                .write(prompt, characters, sampling, new Generator(3), text::append);
        return text.toString();
    }

    @Test
    void withCachesItWritesWhatWholeTextsSay() {
        String prompt = "abc";
        StringBuilder expected = new StringBuilder(prompt);
        while (expected.length() < CONTEXT) {
            long[] all =
                    Arrays.stream(vocabulary.encode(expected)).asLongStream().toArray();
            Tensor scores = Autograd.noGrad(() -> model.forward(Tensor.of(all, 1, all.length)));
            expected.append(vocabulary.decode((int) scores.at(0, -1).argmax().toLongArray()[0]));
        }
        assertThat(write(model, prompt, CONTEXT - prompt.length(), LIKELIEST)).isEqualTo(expected.toString());
    }

    /** Beyond it the second half of what is there is read again; a prompt that is longer is cut off at its beginning. */
    @Test
    void theContextIsNoEnd() {
        String text = write(model, "abc", 40, LIKELIEST);
        assertThat(text).hasSize(43).startsWith(write(model, "abc", 9, LIKELIEST));
        assertThat(write(model, text, 5, LIKELIEST)).hasSize(48);
        assertThat(write(model, "a", 0, LIKELIEST)).isEqualTo("a");
        Gpt flat = new Gpt(new Gpt.Shape(vocabulary.size(), 4, 0, 8, 1));
        assertThat(write(flat, "ab", 10, LIKELIEST)).hasSize(12);
    }

    @Test
    void drawsFollowTheScores() {
        double[] scores = {Math.log(0.1), Math.log(0.4), Math.log(0.2), Math.log(0.3)};
        check(scores, new Sampling(1, 0, 1), 0.1, 0.4, 0.2, 0.3);
        check(scores, new Sampling(0.5, 0, 1), 1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0);
        check(scores, new Sampling(1, 2, 1), 0, 4 / 7.0, 0, 3 / 7.0);
        check(scores, new Sampling(1, 0, 0.65), 0, 4 / 7.0, 0, 3 / 7.0);
        check(scores, new Sampling(1, 3, 0.95), 0, 4 / 9.0, 2 / 9.0, 3 / 9.0);
        check(scores, new Sampling(0, 0, 1), 0, 1, 0, 0);
        check(scores, new Sampling(1, 1, 0.01), 0, 1, 0, 0);
        assertThatThrownBy(() -> new Sampling(-1, 0, 1)).hasMessageContaining("--temperature -1.0");
        assertThatThrownBy(() -> new Sampling(1, -1, 1)).hasMessageContaining("--top-k -1");
        assertThatThrownBy(() -> new Sampling(1, 0, 0)).hasMessageContaining("--top-p 0.0");
    }

    private static void check(double[] scores, Sampling sampling, double... expected) {
        int draws = 20_000;
        Generator generator = new Generator(11);
        int[] counts = new int[scores.length];
        for (int i = 0; i < draws; i++) {
            counts[sampling.draw(scores, generator)]++;
        }
        for (int k = 0; k < scores.length; k++) {
            double deviation = Math.sqrt(expected[k] * (1 - expected[k]) / draws);
            assertThat((double) counts[k] / draws)
                    .as(sampling + ", token " + k)
                    .isBetween(expected[k] - 4 * deviation, expected[k] + 4 * deviation);
        }
    }

    @Test
    void whatARunHasKeptWrites() throws IOException {
        GptFiles.save(folder, vocabulary);
        assertThat(Launch.run(new TrainGpt(), "--generate=ab", "--from=" + folder))
                .isEqualTo(2); // no weights
        GptFiles.save(folder, model, Map.of("steps", "7"));
        GptFiles.Loaded loaded = GptFiles.load(folder);
        assertThat(loaded.vocabulary().characters()).isEqualTo(vocabulary.characters());
        Sampling sampling = new Sampling(1, 5, 0.9);
        String expected = write(model, "ab", 30, sampling);
        assertThat(write(loaded.model(), "ab", 30, sampling)).isEqualTo(expected);
        PrintStream before = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            assertThat(Launch.run(
                            new TrainGpt(),
                            "--generate=ab",
                            "--from=" + folder,
                            "--tokens=30",
                            "--seed=3",
                            "--temperature=1",
                            "--top-k=5",
                            "--top-p=0.9"))
                    .isZero();
        } finally {
            System.setOut(before);
        }
        assertThat(said.toString(StandardCharsets.UTF_8)).isEqualTo(expected + System.lineSeparator());
        assertThat(Launch.run(new TrainGpt(), "--generate=?", "--from=" + folder))
                .isEqualTo(2);
        assertThat(Launch.run(new TrainGpt(), "--generate=", "--from=" + folder))
                .isEqualTo(2);
        assertThat(Launch.run(new TrainGpt(), "--generate=a", "--from=" + folder + "-no"))
                .isEqualTo(2);
        Files.writeString(folder.resolve(GptFiles.TOKENIZER), "{}");
        assertThat(Launch.run(new TrainGpt(), "--generate=a", "--from=" + folder))
                .isEqualTo(2);
        assertThat(GptFiles.latest(folder.getParent())).isEqualTo(folder);
    }
}
