// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.launch.TensorLists;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Optimiser steps over more tensors than one launch can name: of many lengths, empty ones among them. */
@Tag("kernels")
class OptimizerListsTest {
    private static final int TENSORS = TensorLists.MANY + 7;

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static List<Tensor> values(int seed, double low, double high, DType dtype) {
        List<Tensor> all = new ArrayList<>();
        java.util.Random random = new java.util.Random(seed);
        for (int i = 0; i < TENSORS; i++) {
            float[] v = new float[i == 3 ? 0 : i == 5 ? 20_000 : 1 + i * 37 % 11];
            for (int k = 0; k < v.length; k++) {
                v[k] = (float) (low + (high - low) * random.nextDouble());
            }
            all.add(Tensor.of(v, v.length).to(dtype));
        }
        return all;
    }

    private static List<Tensor> on(Device device, List<Tensor> tensors) {
        return tensors.stream().map(t -> t.copy().to(device)).toList();
    }

    private static void assertClose(List<Tensor> expected, List<Tensor> actual) {
        for (int i = 0; i < expected.size(); i++) {
            float[] want = expected.get(i).to(DType.FLOAT32).toFloatArray();
            float[] got = actual.get(i).to(DType.FLOAT32).to(Device.CPU).toFloatArray();
            assertArrayEquals(want, got, 2e-6f, "tensor " + i);
        }
    }

    @Test
    void adam() {
        List<Tensor> params = values(1, -1, 1, DType.FLOAT32);
        List<Tensor> grads = values(2, -1, 1, DType.FLOAT32);
        List<Tensor> m = values(3, -1, 1, DType.FLOAT32);
        List<Tensor> v = values(4, 0.1, 1, DType.FLOAT32);
        List<List<Tensor>> results = new ArrayList<>();
        for (Device device : List.of(Device.CPU, Simulator.DEVICE)) {
            List<Tensor> p = on(device, params);
            List<Tensor> steps = new ArrayList<>(); // views of one tensor, as optimisers have them
            Tensor counts = Tensor.arange(TENSORS).remainder(3).to(device);
            for (int i = 0; i < TENSORS; i++) {
                steps.add(counts.at(i));
            }
            Optimizers.ADAM.call(new Optimizers.Adam(
                    p,
                    on(device, grads),
                    on(device, m),
                    on(device, v),
                    List.of(),
                    steps,
                    Tensor.scalar(1e-2).to(device),
                    Tensor.scalar(0.5).to(device),
                    null,
                    0.9,
                    0.99,
                    1e-8,
                    0.1,
                    true));
            results.add(p);
            long[] counted = counts.toLongArray();
            for (int i = 0; i < TENSORS; i++) {
                assertEquals(i % 3 + 1, counted[i], "steps of " + i);
            }
        }
        assertClose(results.get(0), results.get(1));
    }

    /** Packs where tensors are aligned, elements where they are not, at every end: the same bits. */
    @Test
    void alignmentChangesNothing() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            for (boolean adam : new boolean[] {true, false}) {
                List<List<Tensor>> results = new ArrayList<>();
                for (int shift : new int[] {0, 1}) {
                    List<List<Tensor>> roles = new ArrayList<>();
                    for (int role = 0; role < 5; role++) {
                        List<Tensor> list = new ArrayList<>();
                        for (int n : new int[] {5000, 4096, 3, 1021}) {
                            java.util.Random random = new java.util.Random(10 * n + role);
                            Tensor t = Tensor.zeros(role < 2 ? dtype : DType.FLOAT32, n + shift)
                                    .to(Simulator.DEVICE)
                                    .slice(0, shift, n + shift);
                            float[] values = new float[n];
                            for (int i = 0; i < n; i++) {
                                values[i] = 0.1f + random.nextFloat();
                            }
                            list.add(t.copy_(Tensor.of(values, n).to(t.dtype()).to(Simulator.DEVICE)));
                        }
                        roles.add(list);
                    }
                    step(adam, dtype == DType.FLOAT32 ? List.of() : roles.get(4), roles);
                    roles.get(0)
                            .add(Optimizers.GRAD_NORM
                                    .call(new Optimizers.GradNorm(roles.get(1), 1.0, null))
                                    .norm());
                    results.add(roles.get(0));
                }
                for (int i = 0; i < results.get(0).size(); i++) {
                    assertArrayEquals(
                            results.get(0).get(i).to(Device.CPU).toDoubleArray(),
                            results.get(1).get(i).to(Device.CPU).toDoubleArray());
                }
            }
        }
    }

    private static void step(boolean adam, List<Tensor> master, List<List<Tensor>> roles) {
        Tensor lr = Tensor.scalar(1e-2).to(Simulator.DEVICE);
        List<Tensor> steps = new ArrayList<>();
        for (int i = 0; i < roles.get(0).size(); i++) {
            steps.add(Tensor.scalar(2L + i).to(Simulator.DEVICE));
        }
        if (adam) {
            Optimizers.ADAM.call(new Optimizers.Adam(
                    roles.get(0),
                    roles.get(1),
                    roles.get(2),
                    roles.get(3),
                    master,
                    steps,
                    lr,
                    null,
                    null,
                    0.9,
                    0.99,
                    1e-8,
                    0.1,
                    true));
        } else {
            Optimizers.SGD.call(new Optimizers.Sgd(
                    roles.get(0), roles.get(1), roles.get(2), master, steps, lr, null, null, 0.9, 0.1, true, 0.01));
        }
    }

    @Test
    void normsAndScaledGradients() {
        List<Tensor> grads = values(5, -1, 1, DType.BFLOAT16);
        double sum = 0;
        for (Tensor g : grads) {
            sum += g.to(DType.FLOAT64).square().sum().item();
        }
        List<Tensor> there = on(Simulator.DEVICE, grads);
        Optimizers.NormAndScale result = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(there, 1.0, null));
        assertEquals(Math.sqrt(sum), result.norm().item(), 1e-6 * Math.sqrt(sum));
        assertEquals(1 / Math.sqrt(sum), result.scale().item(), 1e-6);
        List<Tensor> here = on(Device.CPU, grads);
        Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(here, Tensor.scalar(0.25)));
        Optimizers.SCALE_GRADS.call(
                new Optimizers.ScaleGrads(there, Tensor.scalar(0.25).to(Simulator.DEVICE)));
        assertClose(here, there);
        assertEquals(
                0, Optimizers.NON_FINITE.call(new Optimizers.NonFinite(there)).item());
        there.get(TENSORS - 1).fill_(Double.NaN);
        assertEquals(
                1, Optimizers.NON_FINITE.call(new Optimizers.NonFinite(there)).item());
    }
}
