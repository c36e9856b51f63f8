// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.nn.Linear;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A model goes to the device and back while its optimiser lives; steps that were captured before say so. */
@Tag("kernels")
class MovedParametersTest {
    private static final Device ON = Simulator.DEVICE;

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static void step(Linear layer, AdamW optimizer) {
        Tensor weight = layer.weight();
        Autograd.backward(weight.square()
                .sum()
                .add(java.util.Objects.requireNonNull(layer.bias()).square().sum()));
        optimizer.step(Clip.norm(layer.parameters(), 1).scale());
        optimizer.zeroGrad();
    }

    @Test
    void trainsThereAndBack() {
        Linear moved = new Linear(5, 3);
        Linear stays = new Linear(5, 3);
        stays.loadStateDict(moved.stateDict());
        try (AdamW a = new AdamW(moved.parameters(), 0.05, 0.1);
                AdamW b = new AdamW(stays.parameters(), 0.05, 0.1)) {
            for (int t = 0; t < 9; t++) {
                if (t % 3 == 0) {
                    moved.to(t == 3 ? ON : Device.CPU);
                }
                if (t == 4) {
                    moved.to(DType.FLOAT64);
                    stays.to(DType.FLOAT64);
                }
                try (Scope scope = Scope.open()) {
                    step(moved, a);
                    step(stays, b);
                }
                a.stateDict()
                        .all(Tensor.class)
                        .values()
                        .forEach(s -> assertEquals(moved.weight().device(), s.device()));
            }
            assertEquals(9, a.steps());
            assertArrayEquals(stays.weight().toDoubleArray(), moved.weight().toDoubleArray(), 1e-5);
        }
    }

    @Test
    void aCapturedStepRefusesWhatMovedAndIsCapturedAnew() {
        Linear moved = new Linear(5, 3);
        Linear stays = new Linear(5, 3);
        stays.loadStateDict(moved.stateDict());
        moved.to(ON);
        try (AdamW a = new AdamW(moved.parameters(), 0.05, 0.1);
                AdamW b = new AdamW(stays.parameters(), 0.05, 0.1);
                CudaGraph<String> graph = CudaGraph.of(ON, () -> {
                            step(moved, a);
                            return "";
                        })
                        .warmup(1)) {
            for (int i = 0; i < 3; i++) {
                graph.run();
                step(stays, b);
            }
            double[] before = moved.weight().toDoubleArray();
            moved.to(DType.FLOAT64);
            stays.to(DType.FLOAT64);
            String message =
                    assertThrows(GraphCaptureException.class, graph::run).getMessage();
            assertTrue(message.contains("'weight'") || message.contains("'bias'"), message);
            assertTrue(
                    message.contains("float32") && message.contains("float64") && message.contains("reset()"), message);
            assertArrayEquals(before, moved.weight().toDoubleArray());
            graph.reset();
            graph.warmup(0);
            message = assertThrows(GraphCaptureException.class, graph::run).getMessage();
            assertTrue(message.contains("have moved") && message.contains("warm up"), message);
            moved.zeroGrad();
            graph.warmup(1);
            for (int i = 0; i < 3; i++) {
                graph.run();
                step(stays, b);
            }
            assertTrue(graph.isCaptured());
            assertArrayEquals(stays.weight().toDoubleArray(), moved.weight().toDoubleArray(), 1e-5);
            assertEquals(6, a.steps());
            try (CudaGraph<String> moving = CudaGraph.of(ON, () -> {
                        moved.to(DType.FLOAT32);
                        return "";
                    })
                    .warmup(0)) {
                message = assertThrows(GraphCaptureException.class, moving::run).getMessage();
                assertTrue(message.contains("Linear would move"), message);
            }
            // Settings that were loaded are not those of the captured step.
            a.loadStateDict(a.stateDict().with("beta1", 0.5));
            message = assertThrows(GraphCaptureException.class, graph::run).getMessage();
            assertTrue(message.contains("settings") && message.contains("reset()"), message);
        }
    }
}
