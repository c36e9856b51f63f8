// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.cuda.Simulator;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.RmsProp;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Steps that are formulas, printed as kernels over lists: more tensors than a launch can name, empty ones among them. */
@Tag("kernels")
class StepKernelTest {
    private static final int TENSORS = 70;

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static List<Tensor> values(int seed, DType dtype, Device device) {
        List<Tensor> all = new ArrayList<>();
        Random random = new Random(seed);
        for (int i = 0; i < TENSORS; i++) {
            float[] v = new float[i == 3 ? 0 : i == 5 ? 9_001 : 1 + i * 37 % 11];
            for (int k = 0; k < v.length; k++) {
                v[k] = random.nextFloat() - 0.5f;
            }
            all.add(Tensor.of(v, v.length).to(dtype).to(device));
        }
        return all;
    }

    /** Parameters and states after some steps: clipped, one left out, one parameter without a gradient. */
    private static List<double[]> train(Function<List<Tensor>, Optimizer> make, DType dtype, Device device) {
        List<Tensor> params =
                values(1, dtype, device).stream().map(p -> p.requiresGrad(true)).toList();
        List<double[]> result = new ArrayList<>();
        try (Optimizer optimizer = make.apply(params)) {
            for (int t = 0; t < 3; t++) {
                List<Tensor> grads = values(2 + t, dtype, device);
                for (int i = 0; i < TENSORS; i++) {
                    params.get(i).setGrad(i == 7 && t < 2 ? null : grads.get(i));
                }
                Clip.value_(params, 0.375);
                Tensor skip = Tensor.scalar(t == 1 ? 1f : 0f).to(device);
                optimizer.step(t == 0 ? null : Tensor.scalar(0.5).to(device), skip);
            }
            assertEquals(2, optimizer.steps());
            optimizer.stateDict().all(Tensor.class).values().forEach(s -> result.add(values(s)));
        }
        params.forEach(p -> result.add(values(p.detach())));
        return result;
    }

    private static double[] values(Tensor t) {
        return t.to(Device.CPU).to(DType.FLOAT64).toDoubleArray();
    }

    @Test
    void stepsAreThoseOfPlainJava() {
        List<Function<List<Tensor>, Optimizer>> kinds = List.of(
                p -> new AdamW(p, 0.01, 0.9, 0.8, 1e-3, 0.1, true),
                p -> new RmsProp(p, 0.01, 0.9, 0.1, 0.1, 0.5, true));
        for (Function<List<Tensor>, Optimizer> kind : kinds) {
            for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16)) {
                List<double[]> here = train(kind, dtype, Device.CPU);
                List<double[]> there = train(kind, dtype, Simulator.DEVICE);
                for (int i = 0; i < here.size(); i++) {
                    double eps = dtype == DType.FLOAT64 ? 1e-14 : dtype == DType.FLOAT32 ? 2e-6 : 4e-3;
                    assertArrayEquals(here.get(i), there.get(i), eps, dtype + " " + i);
                }
            }
        }
    }

    /** A captured step reads rate, gradients and counts anew at each replay. */
    @Test
    void capturedSteps() {
        double[][] results = new double[2][];
        for (int captured = 0; captured < 2; captured++) {
            Tensor p = Tensor.of(new float[] {1, -2, 3}).to(Simulator.DEVICE).requiresGrad(true);
            Tensor g = Tensor.of(new float[] {1, 2, -1}).to(Simulator.DEVICE);
            p.setGrad(g);
            try (Optimizer optimizer = new AdamW(List.of(p), 0.1, 0.9, 0.8, 1e-3, 0.1, true);
                    CudaGraph<Tensor> graph = CudaGraph.of(Simulator.DEVICE, () -> {
                        optimizer.step();
                        return p.sum();
                    })) {
                for (int t = 0; t < 6; t++) {
                    optimizer.setLearningRate(0.1 / (t + 1));
                    g.mul_(-1.5);
                    try (Scope scope = Scope.open()) {
                        if (captured == 1) {
                            graph.run();
                        } else {
                            optimizer.step();
                        }
                    }
                }
                assertEquals(captured == 1, graph.isCaptured());
                assertEquals(6, optimizer.steps());
                results[captured] = values(p.detach());
            }
        }
        assertArrayEquals(results[0], results[1]);
    }
}
