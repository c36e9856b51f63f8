// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.Merapi;
import dev.merapi.cuda.Simulator;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.nn.Dropout;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Ema;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Accuracy;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.ConfusionMatrix;
import dev.merapi.train.CudaGraph;
import dev.merapi.train.RunningMean;
import dev.merapi.train.Trainer;
import dev.merapi.types.Device;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs on the simulator, captured and not, go on bit for bit; measures read nothing back before they are asked. */
@Tag("kernels")
class RunsOnDeviceTest {
    private static final Device ON = Simulator.DEVICE;

    @TempDir
    Path folder;

    private boolean before;

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @BeforeEach
    void deterministic() {
        before = Merapi.isDeterministic();
        Merapi.deterministic(true);
    }

    @AfterEach
    void asBefore() {
        Merapi.deterministic(before);
    }

    @Test
    void aRunGoesOnBitForBit() throws IOException {
        float[] expected = run("whole", false, 9);
        assertArrayEquals(expected, run("captured", true, 9));
        for (boolean captured : new boolean[] {false, true}) {
            String parts = "parts" + captured;
            run(parts, captured, 2); // in the warm-up of the capture
            run(parts, captured, 7); // after it
            assertArrayEquals(expected, run(parts, captured, 9));
        }
    }

    /** The weights and their averages. */
    private float[] run(String name, boolean captured, int steps) throws IOException {
        Merapi.seed(3);
        Tensor x = Tensor.linspace(-1, 1, 24).reshape(24, 1);
        Sequential model = new Sequential()
                .then(new Linear(1, 8))
                .then(Tensor::tanh)
                .then(new Dropout(0.2))
                .then(new Linear(8, 1));
        model.to(ON);
        try (AdamW optimizer = new AdamW(model.parameters(), 1e-2, 0.01);
                Ema ema = new Ema(model, 0.8);
                DataLoader<Labelled> loader = DataLoader.of(
                                new TensorDataset(x, x.mul(3).sin()), 8)
                        .shuffle(5)
                        .to(ON)) {
            Trainer<Labelled> trainer = Trainer.of(
                            optimizer, (Labelled b) -> Losses.mseLoss(model.forward(b.inputs()), b.targets()))
                    .part("model", model)
                    .steps(steps)
                    .clipNorm(model.parameters(), 0.5)
                    .ema(ema)
                    .checkpoints(Checkpoints.in(folder.resolve(name)), 0);
            if (captured) {
                Labelled buffers = new Labelled(
                        Tensor.zeros(8, 1).to(ON), Tensor.zeros(8, 1).to(ON));
                trainer.capture(ON, buffers, Labelled::copyFrom);
            }
            assertEquals(Trainer.End.DONE, trainer.run(loader).end());
            Tensor weight = model.parameters().get(0).tensor().detach();
            Tensor average = ema.stateDict().get("parameters.0.weight", Tensor.class);
            float[] both = new float[16];
            System.arraycopy(weight.toFloatArray(), 0, both, 0, 8);
            System.arraycopy(average.toFloatArray(), 0, both, 8, 8);
            return both;
        }
    }

    /** A captured step may not read from the device: so adding to a measure does not. */
    @Test
    void measuresWaitForNothing() {
        Tensor scores = Tensor.of(new float[][] {{2, 1, 0}, {0, 1, 2}, {1, 3, 0}, {0, 2, 1}})
                .to(ON);
        Tensor targets = Tensor.of(0L, 2L, 1L, 2L).to(ON);
        try (Accuracy one = new Accuracy();
                Accuracy two = new Accuracy(2);
                ConfusionMatrix matrix = new ConfusionMatrix(3);
                RunningMean loss = new RunningMean();
                CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                            one.add(scores, targets);
                            two.add(scores, targets);
                            matrix.add(scores, targets);
                            loss.add(Losses.crossEntropy(scores, targets), 4);
                            return scores.sum();
                        })
                        .warmup(1)) {
            for (int i = 0; i < 3; i++) {
                graph.run();
            }
            assertEquals(0.75, one.value());
            assertEquals(1, two.value());
            assertArrayEquals(new long[] {0, 3, 3}, matrix.counts()[2]);
            assertEquals(0.59816, loss.value(), 1e-4);
        }
    }
}
