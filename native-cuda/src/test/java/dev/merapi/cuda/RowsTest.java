// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Rows that parts of a warp or blocks keep in registers and longer ones, by packs of 16 bytes where sizes and addresses allow
 * it; values and gradients.
 */
@Tag("kernels")
class RowsTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor rows(int size, long seed) {
        java.util.Random random = new java.util.Random(seed);
        float[] v = new float[3 * size];
        for (int i = 0; i < v.length; i++) {
            v[i] = (float) random.nextGaussian() * 3;
        }
        v[size - 1] = Float.NEGATIVE_INFINITY; // a class that is ruled out
        v[size] = 80; // the first of its row is far ahead
        return Tensor.of(v, 3, size);
    }

    /** f, and the gradient of Σ f·w, on both devices. */
    private static void compare(Tensor x, UnaryOperator<Tensor> f) {
        compare(x, f, 4e-5f);
    }

    private static void compare(Tensor x, UnaryOperator<Tensor> f, float bound) {
        Tensor[] results = new Tensor[4];
        int i = 0;
        for (Device device : List.of(Device.CPU, Simulator.DEVICE)) {
            Tensor in = x.to(device).detach().requiresGrad(true);
            Tensor out = f.apply(in);
            Tensor w = Tensor.arange(0, out.numel(), 1)
                    .to(DType.FLOAT32)
                    .sin()
                    .reshape(out.shape().toArray());
            Tensor finite = out.maskedFill(out.isFinite().logicalNot(), 0);
            results[i++] = out.detach().to(Device.CPU);
            results[i++] = Autograd.grad(finite.mul(w.to(device)).sum(), List.of(in))
                    .get(0)
                    .to(Device.CPU);
        }
        assertArrayEquals(results[0].toFloatArray(), results[2].toFloatArray(), bound);
        assertArrayEquals(results[1].toFloatArray(), results[3].toFloatArray(), bound);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 33, 300, 1024, 1300, 4097, 16_384, 16_400, 16_401})
    void softmaxNormsAndLosses(int size) {
        try (Scope scope = Scope.open()) {
            Tensor x = rows(size, size);
            compare(x, t -> t.softmax(1));
            compare(x, t -> t.logSoftmax(1));
            compare(x, t -> t.logSumExp(1));
            Tensor targets = Tensor.of(new long[] {0, 0, 1}, 3);
            compare(x, t -> Losses.crossEntropy(t, targets.to(t.device())));
            Tensor finite = x.clamp(-20, 20);
            compare(finite, t -> Normalization.layerNorm(t, new long[] {size}, null, null, 1e-5));
            compare(finite, t -> Normalization.rmsNorm(t, new long[] {size}, null, 1e-5));
            // Far from 0 the squares of the distances must not come from a difference of large sums.
            Tensor far = finite.detach().add(3000);
            compare(far, t -> Normalization.layerNorm(t, new long[] {size}, null, null, 1e-5), 2e-3f);
        }
    }

    /** Rows that are many to a block, of which the last are missing, of packs; and the same where no address is aligned. */
    @ParameterizedTest
    @ValueSource(ints = {4, 24, 64, 200})
    void manyShortRows(int size) {
        try (Scope scope = Scope.open()) {
            int count = 67;
            Tensor flat = PointwiseTest.random(DType.FLOAT32, size, (long) count * size + 1);
            Tensor weight = PointwiseTest.random(DType.FLOAT32, 2, size).requiresGrad(true);
            Tensor bias = PointwiseTest.random(DType.FLOAT32, 3, size);
            for (int start : new int[] {0, 1}) {
                // Sliced on the device, where it keeps its place in memory.
                UnaryOperator<Tensor> at =
                        t -> t.slice(0, start, start + (long) count * size).view(count, size);
                compare(flat, t -> at.apply(t).softmax(1));
                compare(flat, t -> at.apply(t).logSoftmax(1));
                compare(flat, t -> at.apply(t).logSumExp(1));
                compare(
                        flat,
                        t -> Normalization.layerNorm(
                                at.apply(t),
                                new long[] {size},
                                weight.detach().to(t.device()),
                                bias.to(t.device()),
                                1e-5));
                compare(
                        flat,
                        t -> Normalization.rmsNorm(
                                at.apply(t), new long[] {size}, weight.detach().to(t.device()), 1e-5));
                long[] classes = new long[count];
                Arrays.setAll(classes, i -> i % 4);
                Tensor targets = Tensor.of(classes, count);
                compare(
                        flat,
                        t -> Losses.crossEntropy(
                                at.apply(t),
                                targets.to(t.device()),
                                weight.detach().abs().to(t.device()),
                                2,
                                0.1,
                                Losses.Reduction.SUM),
                        2e-3f);
            }
        }
    }

    /** Along a dimension that is not the last. */
    @ParameterizedTest
    @ValueSource(ints = {3, 8, 20, 70})
    void strided(int size) {
        for (long inner : new long[] {5, 33}) {
            Tensor x = PointwiseTest.random(DType.FLOAT32, size, 3, size, inner);
            compare(x, t -> t.softmax(1));
            compare(x, t -> t.logSoftmax(1));
            compare(x, t -> t.logSumExp(1));
        }
    }

    /** Gradients of weight and bias: sums of columns, by packs and one by one, of one chunk and of several. */
    @ParameterizedTest
    @ValueSource(ints = {8, 37, 264})
    void parametersOfNorms(int size) {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            for (int rows : new int[] {3, 150}) {
                Tensor[] results = new Tensor[4];
                int i = 0;
                for (Device device : List.of(Device.CPU, Simulator.DEVICE)) {
                    // The CPU computes from the same rounded numbers, but keeps float32.
                    DType in = device.equals(Device.CPU) ? DType.FLOAT32 : dtype;
                    Tensor x = PointwiseTest.random(dtype, 1, rows, size).to(in).to(device);
                    Tensor g = PointwiseTest.random(dtype, 2, rows, size).to(in).to(device);
                    Tensor w = PointwiseTest.random(dtype, 3, size)
                            .to(in)
                            .to(device)
                            .requiresGrad(true);
                    Tensor b = PointwiseTest.random(dtype, 4, size)
                            .to(in)
                            .to(device)
                            .requiresGrad(true);
                    Tensor y = Normalization.layerNorm(x, new long[] {size}, w, b, 1e-5);
                    for (Tensor t : Autograd.grad(List.of(y), List.of(w, b), List.of(g), Autograd.Graph.FREE, false)) {
                        results[i++] = t.to(Device.CPU).to(DType.FLOAT32);
                    }
                }
                for (int k = 0; k < 2; k++) {
                    float largest = (float) results[k].abs().amax().item();
                    float bound = largest * (dtype == DType.FLOAT32 ? 1e-5f : 0x1p-8f);
                    assertArrayEquals(results[k].toFloatArray(), results[k + 2].toFloatArray(), bound);
                }
            }
        }
    }

    /** Of 16-bit types 8 elements are a pack. */
    @ParameterizedTest
    @ValueSource(ints = {8, 40, 1024, 1032, 16_392})
    void halves(int size) {
        for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT16)) {
            Tensor x = rows(size, size).clamp(-20, 20).to(dtype);
            List<UnaryOperator<Tensor>> all = List.of(
                    t -> t.softmax(1),
                    t -> t.logSoftmax(1),
                    t -> t.logSumExp(1),
                    t -> Normalization.layerNorm(t, new long[] {size}, null, null, 1e-5));
            for (UnaryOperator<Tensor> f : all) {
                Tensor expected = f.apply(x.to(DType.FLOAT32));
                Tensor actual = f.apply(x.to(Simulator.DEVICE)).to(Device.CPU).to(DType.FLOAT32);
                float largest = Math.max(1, (float) expected.abs().amax().item());
                assertArrayEquals(expected.toFloatArray(), actual.toFloatArray(), largest * (float) dtype.epsilon());
            }
        }
    }
}
