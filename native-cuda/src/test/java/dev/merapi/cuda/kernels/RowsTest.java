// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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

    /**
     * Along a dimension that is not the last: sizes that no tile or pack divides, tiles within a warp, of several warps,
     * several to a block, and columns that are read again; each also where no address is aligned.
     */
    @ParameterizedTest
    @CsvSource({
        "FLOAT32, 2, 1, 6",
        "FLOAT32, 3, 5, 7",
        "FLOAT32, 2, 70, 33",
        "FLOAT32, 1, 20, 8193",
        "FLOAT32, 1, 21, 8192",
        "FLOAT32, 3, 300, 8",
        "FLOAT32, 1, 1100, 3",
        "FLOAT32, 1, 2100, 12",
        "FLOAT64, 3, 9, 6",
        "FLOAT64, 2, 300, 4",
        "BFLOAT16, 5, 3, 16",
        "BFLOAT16, 1, 70, 1032",
        "BFLOAT16, 2, 2100, 8",
        "FLOAT16, 3, 17, 5",
        "FLOAT16, 2, 40, 24",
    })
    void columns(DType dtype, long outer, long size, long inner) {
        List<UnaryOperator<Tensor>> all = List.of(t -> t.softmax(1), t -> t.logSoftmax(-2), t -> t.logSumExp(1));
        long numel = outer * size * inner;
        for (int start : new int[] {0, 1}) {
            UnaryOperator<Tensor> view = t -> t.slice(0, start, start + numel).view(outer, size, inner);
            Tensor flat = PointwiseTest.random(dtype, size, numel + 1);
            for (UnaryOperator<Tensor> f : all) {
                try (Scope scope = Scope.open()) {
                    Tensor[] expected = withGradient(flat.to(DType.FLOAT64), t -> f.apply(view.apply(t)), dtype);
                    Tensor[] actual = withGradient(flat.to(Simulator.DEVICE), t -> f.apply(view.apply(t)), dtype);
                    for (int i = 0; i < 2; i++) {
                        double largest =
                                Math.max(1, (double) expected[i].abs().amax().item());
                        Tensor error =
                                actual[i].to(Device.CPU).to(DType.FLOAT64).sub(expected[i]);
                        double worst = (double) error.abs().amax().item();
                        double bound = Math.max(4 * dtype.epsilon(), 1e-12) * largest;
                        assertTrue(worst <= bound, (i == 0 ? "value " : "gradient ") + worst + " > " + bound);
                    }
                }
            }
        }
    }

    /** f(x), and the gradient of Σ f·w with numbers w that the dtype holds. */
    private static Tensor[] withGradient(Tensor x, UnaryOperator<Tensor> f, DType dtype) {
        Tensor in = x.detach().requiresGrad(true);
        Tensor out = f.apply(in);
        Tensor w = PointwiseTest.random(dtype, 7, out.shape().toArray())
                .to(in.device())
                .to(in.dtype());
        Tensor g = Autograd.grad(List.of(out), List.of(in), List.of(w), Autograd.Graph.FREE, false)
                .get(0);
        return new Tensor[] {out.detach(), g};
    }

    /** Infinities and NaN stay in their columns, in tiles that keep them and in those that read them again. */
    @ParameterizedTest
    @ValueSource(ints = {40, 2100})
    void columnsApart(int size) {
        float[] v = new float[size * 4];
        for (int i = 0; i < v.length; i++) {
            v[i] = (float) Math.sin(i);
        }
        v[4 * (size - 1)] = Float.NEGATIVE_INFINITY;
        v[4 * (size / 2) + 1] = Float.NaN;
        v[4 * (size / 3) + 2] = 90;
        v[3] = Float.POSITIVE_INFINITY;
        Tensor x = Tensor.of(v, size, 4);
        for (UnaryOperator<Tensor> f : List.<UnaryOperator<Tensor>>of(t -> t.softmax(0), t -> t.logSumExp(0))) {
            Tensor actual = f.apply(x.to(Simulator.DEVICE)).to(Device.CPU);
            assertArrayEquals(f.apply(x).toFloatArray(), actual.toFloatArray(), 1e-5f);
        }
    }

    /** The rule: lines of 128 bytes, sectors where columns are few or long; what threads can keep they keep. */
    @Test
    void formsOfColumns() {
        DType f32 = DType.FLOAT32;
        DType bf16 = DType.BFLOAT16;
        // Images with 21 classes, and with 1000.
        assertEquals(form(f32, 4, 4, 8, 8), RowForm.columns(f32, 8, 21, 512 * 512));
        assertEquals(form(f32, 4, 8, 128, 4), RowForm.columns(f32, 8, 1000, 64 * 64));
        assertEquals(form(bf16, 8, 4, 8, 8), RowForm.columns(bf16, 8, 21, 512 * 512));
        // Short columns are a thread's; those of 7 · 7 have no packs.
        assertEquals(form(f32, 4, 4, 1, 8), RowForm.columns(f32, 8, 3, 512 * 512));
        assertEquals(form(f32, 1, 8, 8, 8), RowForm.columns(f32, 32, 64, 49));
        // Too long to be kept.
        assertEquals(form(f32, 4, 0, 32, 8), RowForm.columns(f32, 8, 5000, 64 * 64));
        assertEquals(form(f32, 1, 0, 128, 2), RowForm.columns(f32, 1, 50_000, 2));
    }

    private static RowForm form(DType dtype, int pack, int kept, int lanes, int width) {
        RowForm.Types types = new RowForm.Types(dtype, pack, kept, true);
        return new RowForm(types, lanes, width, Math.max(128, lanes * width));
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
