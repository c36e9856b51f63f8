// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.StateDictException;
import dev.merapi.nn.Linear;
import dev.merapi.optim.AdamW;
import dev.merapi.random.Generator;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.Metrics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointsTest {
    @TempDir
    Path folder;

    private record Training(Linear model, AdamW optimizer, Generator generator) {
        static Training fresh() {
            Linear model = new Linear(3, 2);
            return new Training(model, new AdamW(model.parameters(), 0.1, 0.01), new Generator(7));
        }

        Map<String, Stateful> parts() {
            return Map.of("model", model, "optimizer", optimizer, "generator", generator);
        }

        double step() {
            Tensor x = Tensor.of(new float[] {generator.draw(1).offset(), 1, 2}, 1, 3);
            Tensor loss = model.forward(x).square().mean();
            Autograd.backward(loss);
            optimizer.step();
            optimizer.zeroGrad();
            return loss.item();
        }
    }

    private List<Long> steps(Checkpoints checkpoints) throws IOException {
        return checkpoints.all().stream().map(Checkpoints.Saved::step).toList();
    }

    @Test
    void whatIsRestoredGoesOnBitForBit() throws IOException {
        Checkpoints checkpoints = Checkpoints.in(folder.resolve("c"));
        assertThat(checkpoints.latest()).isEmpty();
        Training one = Training.fresh();
        one.step();
        double loss = one.step();
        checkpoints.save(2, one.parts(), Map.of("loss", loss));
        Training other = Training.fresh();
        other.step();
        Checkpoints.Saved saved = checkpoints.latest().orElseThrow();
        assertThat(saved.restore(other.parts())).isEqualTo(2);
        assertThat(saved.metrics()).containsExactly(Map.entry("loss", loss));
        for (int i = 0; i < 3; i++) {
            assertThat(other.step()).isEqualTo(one.step());
        }
    }

    @Test
    void theLatestAndTheBestAreKept() throws IOException {
        Checkpoints checkpoints = Checkpoints.in(folder).keepLast(2).keepBest(2, "loss");
        Training t = Training.fresh();
        double[] losses = {5, 1, 4, 2, 3, 6};
        for (int i = 0; i < losses.length; i++) {
            checkpoints.save(i + 1, t.parts(), Map.of("loss", losses[i]));
        }
        assertThat(steps(checkpoints)).containsExactly(2L, 4L, 5L, 6L);
        assertThat(checkpoints.best().orElseThrow().step()).isEqualTo(2);
        assertThat(checkpoints.latest().orElseThrow().step()).isEqualTo(6);
        // A run that went back to step 4 has another future now.
        checkpoints.save(5, t.parts(), Map.of("loss", 0.5));
        assertThat(steps(checkpoints)).containsExactly(2L, 4L, 5L);
        checkpoints.keepBest(0, "loss").keepLast(1).save(7, t.parts(), Map.of());
        assertThat(steps(checkpoints)).containsExactly(7L);
    }

    @Test
    void whatDoesNotFitIsNamed() throws IOException {
        Checkpoints checkpoints = Checkpoints.in(folder);
        Training t = Training.fresh();
        Checkpoints.Saved saved = checkpoints.save(1, t.parts(), Map.of());
        assertThatThrownBy(() -> saved.restore(Map.of("model", t.model())))
                .isInstanceOf(StateDictException.class)
                .hasMessageContaining("parts that are not asked for");
        assertThatThrownBy(() -> saved.restore(
                        Map.of("model", new Linear(4, 2), "optimizer", t.optimizer(), "generator", t.generator())))
                .isInstanceOf(StateDictException.class)
                .hasMessageContaining("part 'model'");
        assertThatThrownBy(() -> checkpoints.save(1, Map.of("a.b", t.model()), Map.of()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("a.b");
        Files.write(saved.file(), new byte[] {1, 2, 3});
        assertThatThrownBy(checkpoints::latest).isInstanceOf(IOException.class).hasMessageContaining("is damaged");
    }

    /** A draft of a process that is gone goes, whatever step it was of; one of a process that lives stays. */
    @Test
    void whatKilledSavesLeftIsRemoved() throws IOException {
        Checkpoints checkpoints = Checkpoints.in(folder);
        Path dead = folder.resolve(".step-000000009.safetensors.draft-2147483646-0");
        Path alive = folder.resolve(".step-000000009.safetensors.draft-"
                + ProcessHandle.current().parent().orElseThrow().pid() + "-0");
        Files.write(dead, new byte[10]);
        Files.write(alive, new byte[10]);
        checkpoints.save(1, Training.fresh().parts(), Map.of());
        assertThat(dead).doesNotExist();
        assertThat(alive).exists();
    }

    @Test
    void metricsGoOnFromACheckpoint() throws IOException {
        Path csv = folder.resolve("metrics.csv");
        try (Metrics metrics = Metrics.create(csv, "loss", "test")) {
            metrics.record(0, Map.of("test", 9.0));
            metrics.record(0, Map.of("loss", 3.0));
            metrics.record(1, Map.of("loss", 2.0));
            metrics.record(2, Map.of("loss", 1.0));
        }
        Files.writeString(csv, Files.readString(csv) + "3,0.", java.nio.charset.StandardCharsets.UTF_8);
        try (Metrics metrics = Metrics.resume(csv, 2, "loss", "test")) {
            assertThat(metrics.series("loss").values()).containsExactly(3.0, 2.0);
            metrics.record(2, Map.of("loss", 1.5));
            metrics.flush();
            assertThat(Files.readAllLines(csv))
                    .containsExactly("step,loss,test", "0,,9.0", "0,3.0,", "1,2.0,", "2,1.5,");
        }
        assertThatThrownBy(() -> Metrics.resume(csv, 2, "loss"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("has the columns step,loss,test, not step,loss");
    }
}
