// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.cuda.Simulator;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Optimizers;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.RandomOps;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Structured ops on the simulator against the plain-Java kernels, and their gradients. */
@Tag("kernels")
class StructuredTest {
    private static final List<DType> FLOATS = List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16);

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor random(DType dtype, long seed, long... shape) {
        return PointwiseTest.random(dtype, seed, shape);
    }

    /** The function on the CPU and on the device, forward and, where the result is floating, backward. */
    static void same(String what, double terms, Function<List<Tensor>, Tensor> f, Tensor... inputs) {
        List<Tensor> here = new ArrayList<>();
        List<Tensor> there = new ArrayList<>();
        for (Tensor t : inputs) {
            boolean grad = t.dtype().isFloating();
            here.add(t.detach().requiresGrad(grad));
            there.add(t.to(Simulator.DEVICE).requiresGrad(grad));
        }
        Tensor expected = f.apply(here);
        Tensor actual = f.apply(there);
        close(what, expected, actual, terms);
        if (!expected.requiresGrad()) {
            return;
        }
        Tensor g = random(expected.dtype(), 77, expected.shape().toArray());
        Autograd.backward(expected, g, Autograd.Graph.FREE);
        Autograd.backward(actual, g.to(Simulator.DEVICE), Autograd.Graph.FREE);
        for (int i = 0; i < inputs.length; i++) {
            if (here.get(i).requiresGrad()) {
                close(what + ", gradient " + i, here.get(i).grad(), there.get(i).grad(), terms);
            }
        }
    }

    /** Within the error of a sum of so many terms of the size of the largest result, and one rounding to the dtype. */
    private static void close(String what, Tensor expected, Tensor actual, double terms) {
        assertEquals(expected.dtype(), actual.dtype(), what);
        assertEquals(expected.shape(), actual.shape(), what);
        assertEquals(Simulator.DEVICE, actual.device(), what);
        double[] a = expected.toDoubleArray();
        double[] b = actual.toDoubleArray();
        double largest = 1;
        for (double v : a) {
            largest = Double.isFinite(v) ? Math.max(largest, Math.abs(v)) : largest;
        }
        double compute = expected.dtype() == DType.FLOAT64 ? 0x1p-52 : 0x1p-23;
        double bound = expected.dtype().isFloating()
                ? largest * (expected.dtype().epsilon() + compute * (8 + Math.sqrt(terms)))
                : 0;
        for (int i = 0; i < a.length; i++) {
            if (!(a[i] == b[i] || Double.isNaN(a[i]) && Double.isNaN(b[i]) || Math.abs(a[i] - b[i]) <= bound)) {
                fail(what + ", element " + i + ": " + b[i] + " instead of " + a[i] + ", bound " + bound);
            }
        }
    }

    // ---------------------------------------------------------------- images

    /** Windows that overlap, that leave gaps, and that are dilated; the last elements are in none. */
    @Test
    void largestOfWindows() {
        long[][] moves = {
            {3, 2, 1, 2, 1, 1, 1, 1}, {2, 2, 3, 4, 0, 1, 1, 1}, {3, 4, 2, 1, 1, 2, 3, 2}, {1, 1, 2, 2, 0, 0, 1, 1}
        };
        for (DType dtype : FLOATS) {
            for (long[] m : moves) {
                same(
                        "max pool " + dtype + " " + java.util.Arrays.toString(m),
                        20,
                        t -> Pooling.MAX_POOL2D
                                .call(new Pooling.MaxPool2d(
                                        t.get(0),
                                        new long[] {m[0], m[1]},
                                        new long[] {m[2], m[3]},
                                        new long[] {m[4], m[5]},
                                        new long[] {m[6], m[7]}))
                                .y(),
                        random(dtype, 1, 2, 3, 11, 14));
            }
        }
    }

    // ---------------------------------------------------------------- matrices

    @Test
    void products() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.INT32)) {
            Function<List<Tensor>, Tensor> f = t -> LinearAlgebra.matmul(t.get(0), t.get(1));
            same("one by one " + dtype, 1, f, random(dtype, 1, 1, 1), random(dtype, 2, 1, 1));
            same("odd " + dtype, 70, f, random(dtype, 1, 65, 70), random(dtype, 2, 70, 67));
            same("batch " + dtype, 9, f, random(dtype, 1, 2, 3, 5, 9), random(dtype, 2, 3, 9, 4));
            same(
                    "transposed " + dtype,
                    9,
                    t -> LinearAlgebra.matmul(t.get(0).t(), t.get(1).t()),
                    random(dtype, 1, 9, 5),
                    random(dtype, 2, 6, 9));
            same("vectors " + dtype, 9, f, random(dtype, 1, 9), random(dtype, 2, 9));
        }
        same("inner size 0", 1, t -> LinearAlgebra.matmul(t.get(0), t.get(1)), Tensor.zeros(3, 0), Tensor.zeros(0, 4));
    }

    @Test
    void linear() {
        for (DType dtype : FLOATS) {
            same(
                    "with bias " + dtype,
                    33,
                    t -> LinearAlgebra.linear(t.get(0), t.get(1), t.get(2)),
                    random(dtype, 1, 4, 7, 33),
                    random(dtype, 2, 18, 33),
                    random(dtype, 3, 18));
        }
        same(
                "without",
                33,
                t -> LinearAlgebra.linear(t.get(0), t.get(1), null),
                random(DType.FLOAT32, 1, 7, 33),
                random(DType.FLOAT32, 2, 18, 33));
    }

    // ---------------------------------------------------------------- rows

    @Test
    void softmaxAndItsRelatives() {
        for (DType dtype : FLOATS) {
            for (long[] shape : new long[][] {{5, 7}, {3, 300}, {2, 40, 3}}) {
                Tensor x = random(dtype, 1, shape);
                for (int dim = 0; dim < shape.length; dim++) {
                    int d = dim;
                    same("softmax " + dtype, 300, t -> t.get(0).softmax(d), x);
                    same("log_softmax " + dtype, 300, t -> t.get(0).logSoftmax(d), x);
                    same("logsumexp " + dtype, 300, t -> t.get(0).logSumExp(d), x);
                }
            }
        }
        Tensor infinite = Tensor.of(new float[] {Float.NEGATIVE_INFINITY, Float.NEGATIVE_INFINITY, 3, 1}, 2, 2);
        same("logsumexp of -inf", 1, t -> t.get(0).detach().logSumExp(1), infinite);
    }

    @Test
    void norms() {
        for (DType dtype : FLOATS) {
            Tensor x = random(dtype, 1, 300, 41);
            Tensor w = random(dtype, 2, 41);
            Tensor b = random(dtype, 3, 41);
            long[] shape = {41};
            same(
                    "layer norm " + dtype,
                    300,
                    t -> Normalization.layerNorm(t.get(0), shape, t.get(1), t.get(2), 1e-5),
                    x,
                    w,
                    b);
            same(
                    "layer norm without " + dtype,
                    300,
                    t -> Normalization.layerNorm(t.get(0), shape, null, null, 1e-5),
                    x);
            same("rms norm " + dtype, 300, t -> Normalization.rmsNorm(t.get(0), shape, t.get(1), 1e-5), x, w);
        }
    }

    @Test
    void lossesOfClasses() {
        Tensor targets = Tensor.of(new long[] {1, 6, -100, 0, 3}, 5);
        Tensor weight = Tensor.of(new double[] {1, 2, 0.5, 1, 3, 1, 0.25})
                .to(DType.FLOAT32)
                .to(Device.CPU);
        for (Losses.Reduction reduction : Losses.Reduction.values()) {
            for (double smoothing : new double[] {0, 0.1}) {
                for (boolean weighted : new boolean[] {false, true}) {
                    same(
                            "cross entropy " + reduction + smoothing,
                            40,
                            t -> {
                                Device device = t.get(0).device();
                                return Losses.crossEntropy(
                                        t.get(0),
                                        targets.to(device),
                                        weighted ? weight.to(device) : null,
                                        -100,
                                        smoothing,
                                        reduction);
                            },
                            random(DType.FLOAT32, 1, 5, 7));
                    same(
                            "nll " + reduction,
                            40,
                            t -> {
                                Device device = t.get(0).device();
                                return Losses.nllLoss(
                                        t.get(0),
                                        targets.to(device),
                                        weighted ? weight.to(device) : null,
                                        -100,
                                        reduction);
                            },
                            random(DType.FLOAT32, 1, 5, 7));
                }
            }
        }
        Tensor wrong = Tensor.of(new long[] {1, 7}, 2).to(Simulator.DEVICE);
        Tensor x = random(DType.FLOAT32, 1, 2, 7).to(Simulator.DEVICE);
        assertSameRefusal(
                () -> Losses.crossEntropy(x.to(Device.CPU), wrong.to(Device.CPU)), () -> Losses.crossEntropy(x, wrong));
    }

    // ---------------------------------------------------------------- indices

    @Test
    void indexing() {
        Tensor rows = Tensor.of(new long[] {2, -1, 2, 0}, 4);
        Tensor each = Tensor.of(new long[] {0, 2, 1, -1, 0, 2, 1, 1}, 4, 2);
        for (DType dtype : FLOATS) {
            Tensor x = random(dtype, 1, 4, 3);
            same("index_select " + dtype, 4, t -> t.get(0).indexSelect(1, at(Tensor.of(new int[] {2, 0}, 2), t)), x);
            same("index_select rows " + dtype, 4, t -> t.get(0).indexSelect(0, at(rows, t)), x);
            same("gather " + dtype, 4, t -> t.get(0).gather(1, at(each, t)), x);
            same(
                    "scatter_add " + dtype,
                    4,
                    t -> t.get(0).scatterAdd(1, at(each, t), t.get(1)),
                    x,
                    random(dtype, 2, 4, 2));
            same("index_add " + dtype, 4, t -> t.get(0).indexAdd(0, at(rows, t), t.get(1)), x, random(dtype, 2, 4, 3));
            same(
                    "embedding " + dtype,
                    4,
                    t -> dev.merapi.ops.Indexing.EMBEDDING.call(
                            new dev.merapi.ops.Indexing.Embedding(t.get(0), at(each, t), 2)),
                    x);
        }
        same(
                "one_hot",
                0,
                t -> dev.merapi.ops.Indexing.ONE_HOT.call(
                        new dev.merapi.ops.Indexing.OneHot(t.get(0), 3, DType.FLOAT32)),
                each);
        Tensor x = random(DType.FLOAT32, 1, 4, 3);
        Tensor wrong = Tensor.of(new long[] {0, 4}, 2);
        assertSameRefusal(
                () -> x.indexSelect(0, wrong), () -> x.to(Simulator.DEVICE).indexSelect(0, wrong.to(Simulator.DEVICE)));
    }

    /** At the call where launches are waited for, else at the next wait, which says so. */
    private static void assertSameRefusal(Executable here, Executable there) {
        ShapeException late = assertThrows(ShapeException.class, () -> {
            there.execute();
            if (!Simulator.WAITS) {
                Backends.of(Simulator.DEVICE.type()).synchronize(0);
            }
        });
        assertThat(late)
                .hasMessageStartingWith(assertThrows(ShapeException.class, here).getMessage());
    }

    private static Tensor at(Tensor index, List<Tensor> like) {
        return index.to(like.get(0).device());
    }

    @Test
    void madeAndRearranged() {
        for (DType dtype : List.of(DType.FLOAT32, DType.INT64, DType.UINT8)) {
            for (Number step : new Number[] {3, 0.5}) {
                close(
                        "arange",
                        Tensor.arange(1, 20, step, dtype, Device.CPU),
                        Tensor.arange(1, 20, step, dtype, Simulator.DEVICE),
                        1);
            }
        }
        close(
                "linspace",
                Tensor.linspace(-1, 2, 7, DType.FLOAT32, Device.CPU),
                Tensor.linspace(-1, 2, 7, DType.FLOAT32, Simulator.DEVICE),
                1);
        Tensor x = random(DType.FLOAT32, 1, 2, 5, 6);
        same("tril", 1, t -> t.get(0).tril(-1), x);
        same("triu", 1, t -> t.get(0).triu(2), x);
        same("flip", 1, t -> t.get(0).flip(0, 2), x);
        same("cumsum", 6, t -> t.get(0).cumsum(1), x);
        same("cumsum of integers", 6, t -> t.get(0).cumsum(2), random(DType.INT32, 1, 2, 5, 6));
        same(
                "nonzero",
                0,
                t -> dev.merapi.ops.Indexing.NONZERO.call(new dev.merapi.ops.Indexing.NonZero(t.get(0))),
                random(DType.INT32, 1, 7, 11).gt(0));
        same("cat", 1, t -> Tensor.cat(t, 1), x, random(DType.FLOAT32, 2, 2, 3, 6));
    }

    // ---------------------------------------------------------------- attention: composed of the others

    @Test
    void attention() {
        double scale = 1 / Math.sqrt(5);
        same(
                "attention",
                40,
                t -> Attention.ATTENTION
                        .call(new Attention.Args(t.get(0), t.get(1), t.get(2), true, scale))
                        .out(),
                random(DType.FLOAT32, 1, 1, 2, 6, 5),
                random(DType.FLOAT32, 2, 1, 2, 6, 5),
                random(DType.FLOAT32, 3, 1, 2, 6, 5));
    }

    // ---------------------------------------------------------------- random numbers and optimisers

    @Test
    void randomNumbersAreThoseOfTheCpu() {
        long seed = 0x123456789abcdefL;
        Tensor base = Tensor.scalar(3L);
        for (Device device : List.of(Device.CPU)) {
            for (DType dtype : DType.values()) {
                Tensor here = Tensor.empty(Shape.of(1003), dtype, device);
                Tensor there = Tensor.empty(Shape.of(1003), dtype, Simulator.DEVICE);
                Tensor far = base.to(Simulator.DEVICE);
                if (dtype.isFloating()) {
                    exact(
                            "uniform " + dtype,
                            RandomOps.UNIFORM.call(new RandomOps.Uniform(here, -1, 2, seed, 5, base)),
                            RandomOps.UNIFORM.call(new RandomOps.Uniform(there, -1, 2, seed, 5, far)));
                    exact(
                            "normal " + dtype,
                            RandomOps.NORMAL.call(new RandomOps.Normal(here, 1, 3, seed, 5, null)),
                            RandomOps.NORMAL.call(new RandomOps.Normal(there, 1, 3, seed, 5, null)));
                } else {
                    for (long range : new long[] {2, 1000, 1L << 40, 0}) {
                        exact(
                                "integers " + dtype,
                                RandomOps.INTEGERS.call(new RandomOps.Integers(here, -1, range, seed, 5, null)),
                                RandomOps.INTEGERS.call(new RandomOps.Integers(there, -1, range, seed, 5, null)));
                    }
                }
                exact(
                        "bernoulli " + dtype,
                        RandomOps.BERNOULLI.call(new RandomOps.Bernoulli(here, 0.3, seed, 5, null)),
                        RandomOps.BERNOULLI.call(new RandomOps.Bernoulli(there, 0.3, seed, 5, null)));
            }
        }
        Tensor x = random(DType.FLOAT32, 1, 33, 5);
        same(
                "dropout",
                1,
                t -> RandomOps.DROPOUT
                        .call(new RandomOps.Dropout(t.get(0), 0.4, seed, 9, null))
                        .output(),
                x);
    }

    private static void exact(String what, Tensor expected, Tensor actual) {
        PointwiseTest.exact(what, expected, actual);
    }

    @Test
    void optimizerSteps() {
        FLOATS.forEach(StructuredTest::optimizerSteps);
    }

    static void optimizerSteps(DType dtype) {
        List<Tensor> here = parameters(dtype, Device.CPU);
        List<Tensor> there = parameters(dtype, Simulator.DEVICE);
        for (int step = 1; step < 4; step++) {
            for (List<Tensor> p : List.of(here, there)) {
                Device device = p.get(0).device();
                Tensor lr = Tensor.scalar(0.1).to(device);
                List<Tensor> had = had(step - 1, device);
                Optimizers.ADAM.call(new Optimizers.Adam(
                        p.subList(0, 2),
                        p.subList(2, 4),
                        p.subList(4, 6),
                        p.subList(6, 8),
                        List.of(),
                        had,
                        lr,
                        null,
                        null,
                        0.9,
                        0.99,
                        1e-8,
                        0.1,
                        true));
                Optimizers.SGD.call(new Optimizers.Sgd(
                        p.subList(2, 4),
                        p.subList(0, 2),
                        p.subList(8, 10),
                        List.of(),
                        had(step - 1, device),
                        lr,
                        lr,
                        null,
                        0.9,
                        0,
                        true,
                        0.01));
            }
        }
        for (int i = 0; i < here.size(); i++) {
            close("state " + i + " " + dtype, here.get(i), there.get(i), dtype == DType.BFLOAT16 ? 1e9 : 300);
        }
        Optimizers.NormAndScale a = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(here.subList(2, 4), 1, null));
        Optimizers.NormAndScale b = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(there.subList(2, 4), 1, null));
        close(
                "norm",
                a.norm().to(dtype.computeType()),
                b.norm().to(dtype.computeType()),
                dtype == DType.BFLOAT16 ? 1e9 : 300);
        Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(here.subList(2, 4), a.scale()));
        Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(there.subList(2, 4), b.scale()));
        close("scaled", here.get(2), there.get(2), dtype == DType.BFLOAT16 ? 1e9 : 300);
    }

    @Test
    void mastersAndScales() {
        for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16)) {
            List<Tensor> here = parameters(dtype, Device.CPU);
            List<Tensor> there = parameters(dtype, Simulator.DEVICE);
            for (List<Tensor> p : List.of(here, there)) {
                Device device = p.get(0).device();
                Tensor lr = Tensor.scalar(0.1).to(device);
                Optimizers.ADAM.call(new Optimizers.Adam(
                        p.subList(0, 2),
                        p.subList(2, 4),
                        p.subList(4, 6),
                        p.subList(6, 8),
                        p.subList(8, 10),
                        had(0, device),
                        lr,
                        null,
                        null,
                        0.9,
                        0.99,
                        1e-8,
                        0.1,
                        true));
                for (int i = 0; i < 2; i++) {
                    exact("rounded master", p.get(8 + i).to(dtype).to(Device.CPU), p.get(i));
                }
                Optimizers.SGD.call(new Optimizers.Sgd(
                        p.subList(0, 2),
                        p.subList(2, 4),
                        List.of(),
                        p.subList(8, 10),
                        had(0, device),
                        lr,
                        lr,
                        null,
                        0,
                        0,
                        false,
                        0.01));
                for (int i = 0; i < 2; i++) {
                    exact("rounded master", p.get(8 + i).to(dtype).to(Device.CPU), p.get(i));
                }
            }
            for (int i = 4; i < here.size(); i++) {
                close("state " + i + " " + dtype, here.get(i), there.get(i), 300);
            }
            List<Tensor> grads = there.subList(2, 4);
            Tensor good = Optimizers.NON_FINITE.call(new Optimizers.NonFinite(grads));
            grads.get(1).at(1, 10).fill_(Double.NEGATIVE_INFINITY);
            Tensor bad = Optimizers.NON_FINITE.call(new Optimizers.NonFinite(grads));
            assertEquals(0, good.item());
            assertEquals(1, bad.item());
            Tensor scale = Tensor.scalar(8f).to(Simulator.DEVICE);
            Tensor streak = Tensor.scalar(0L).to(Simulator.DEVICE);
            double[] expected = {8, 16, 16, 4, 4, 8};
            for (int i = 0; i < expected.length; i++) {
                Optimizers.UPDATE_SCALE.call(
                        new Optimizers.UpdateScale(scale, streak, i == 3 ? bad : good, 2, 0.25, 2));
                assertEquals(expected[i], scale.item(), "step " + i);
            }
        }
    }

    /** How many steps two parameters have had: the second one more. */
    private static List<Tensor> had(long steps, Device device) {
        return List.of(Tensor.scalar(steps).to(device), Tensor.scalar(steps + 1).to(device));
    }

    /** Two parameters, their gradients, and three pairs of states. */
    private static List<Tensor> parameters(DType dtype, Device device) {
        List<Tensor> all = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Tensor t = random(i < 4 ? dtype : dtype.computeType(), i, i % 2 == 0 ? 70 : 3, 11);
            all.add((i < 4 ? t : t.abs()).to(device));
        }
        return all;
    }
}
