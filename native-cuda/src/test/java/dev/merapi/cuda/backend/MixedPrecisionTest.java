// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.GradScaler;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A float16 step, scaled and clipped, waits for nothing: so it can be captured, and skips steps in replays too. */
@Tag("kernels")
class MixedPrecisionTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    /** Weights, scales and the number of counted steps of seven steps, of which the sixth overflows. */
    private static List<double[]> train(boolean captured) {
        Merapi.seed(11);
        Sequential model =
                new Sequential().then(new Linear(6, 8)).then(Tensor::relu).then(new Linear(8, 1));
        model.to(Simulator.DEVICE);
        Tensor x = Tensor.zeros(Shape.of(4, 6), DType.FLOAT32, Simulator.DEVICE);
        Tensor y = Tensor.zeros(Shape.of(4, 1), DType.FLOAT32, Simulator.DEVICE);
        List<double[]> seen = new ArrayList<>();
        try (AdamW optimizer = new AdamW(model.parameters(), 1e-2, 0.01);
                GradScaler scaler = new GradScaler(128, 2, 0.5, 3, true);
                CudaGraph<Tensor> graph = CudaGraph.of(Simulator.DEVICE, () -> step(model, x, y, optimizer, scaler))) {
            for (int i = 0; i < 7; i++) {
                try (Scope scope = Scope.open()) {
                    x.copy_(Tensor.full(i == 5 ? 6e4 : 0.1 * (i + 1), 4, 6).to(Simulator.DEVICE));
                    y.copy_(Tensor.full(i, 4, 1).to(Simulator.DEVICE));
                    Tensor loss = captured ? graph.run() : step(model, x, y, optimizer, scaler);
                    seen.add(new double[] {i == 5 ? 0 : loss.item(), scaler.scale(), optimizer.steps()});
                }
            }
            model.parameters().forEach(p -> seen.add(p.tensor().toDoubleArray()));
        }
        return seen;
    }

    private static Tensor step(Sequential model, Tensor x, Tensor y, AdamW optimizer, GradScaler scaler) {
        Tensor loss;
        try (Autocast mode = Autocast.on(DType.FLOAT16)) {
            loss = Losses.mseLoss(model.forward(x), y);
        }
        Autograd.backward(scaler.scale(loss));
        scaler.unscale_(optimizer);
        Clip.norm_(model.parameters(), 1);
        scaler.step(optimizer);
        scaler.update();
        optimizer.zeroGrad();
        return loss;
    }

    @Test
    void aCapturedStepScalesAndSkipsAsTheStepItself() {
        List<double[]> plain = train(false);
        List<double[]> captured = train(true);
        double[] scales = {128, 128, 256, 256, 256, 128, 128};
        double[] counted = {1, 2, 3, 4, 5, 5, 6};
        for (int i = 0; i < scales.length; i++) {
            assertEquals(scales[i], plain.get(i)[1], "scale after step " + i);
            assertEquals(counted[i], plain.get(i)[2], "steps after step " + i);
        }
        for (int i = 0; i < plain.size(); i++) {
            assertArrayEquals(plain.get(i), captured.get(i), "row " + i);
        }
    }
}
