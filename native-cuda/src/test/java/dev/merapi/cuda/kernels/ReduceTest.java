// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.cuda.Simulator;
import dev.merapi.error.DTypeException;
import dev.merapi.expr.Expr;
import dev.merapi.ops.Combine;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Reductions on the simulator against the plain-Java kernels, which accumulate in float64 or long. */
@Tag("kernels")
public class ReduceTest {
    public static final List<ReductionOp> OPS = List.of(
            Reductions.SUM,
            Reductions.MEAN,
            Reductions.PROD,
            Reductions.AMIN,
            Reductions.AMAX,
            Reductions.ARGMIN,
            Reductions.ARGMAX,
            Reductions.ANY,
            Reductions.ALL,
            Reductions.SUM_SQUARES);

    private static final ReductionOp RMS =
            ReductionOp.define("test::root_mean_square", Expr::square, Combine.MEAN, Expr::sqrt);
    private static final ReductionOp SCALED = ReductionOp.define(
            "test::scaled_product",
            2,
            1,
            a -> a.get(0).mul(a.get(1)),
            Combine.SUM,
            a -> a.get(0).mul(a.get(1)).add(1));
    private static final ReductionOp WEIGHTED = ReductionOp.define(
            "test::weighted",
            3,
            1,
            a -> a.get(0).sub(a.get(1)).square().mul(a.get(2)).mul(a.get(3)),
            Combine.SUM);

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @TestFactory
    Stream<DynamicTest> everyReduction() {
        return OPS.stream()
                .map(op -> DynamicTest.dynamicTest(op.toString(), () -> {
                    for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.INT32, DType.BOOL)) {
                        Tensor x = PointwiseTest.random(dtype, 1, 3, 5, 7);
                        check(op, x, 1);
                        check(op, x, 0, 2);
                        check(op, x);
                    }
                }));
    }

    @Test
    void shapesAndLayouts() {
        for (ReductionOp op : List.of(Reductions.SUM, Reductions.ARGMAX)) {
            Tensor x = PointwiseTest.random(DType.FLOAT32, 2, 4, 33, 130);
            check(op, x, 0);
            check(op, x, 1);
            check(op, x, 2);
            check(op, x, 0, 1);
            check(op, PointwiseTest.random(DType.FLOAT32, 3, 9, 1), 0);
            check(op, PointwiseTest.random(DType.FLOAT32, 4), new int[0]);
            check(op, PointwiseTest.random(DType.FLOAT32, 5, 100_003)); // several stages
            check(op, PointwiseTest.random(DType.FLOAT32, 6, 20_011, 3), 0);
            check(op, PointwiseTest.random(DType.FLOAT32, 7, 3, 20_011), 1);
            check(op, PointwiseTest.random(DType.FLOAT32, 8, 700, 3), 1);
        }
    }

    @Test
    void stridedInputs() {
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 12, 10);
        Tensor y = x.to(Simulator.DEVICE);
        same("transposed", Reductions.SUM.call(x.transpose(0, 1), 0), Reductions.SUM.call(y.transpose(0, 1), 0), 12);
        same("slice", Reductions.SUM.call(x.slice(1, 2, 7), 1), Reductions.SUM.call(y.slice(1, 2, 7), 1), 12);
    }

    /** Where loads of 16 bytes are possible, where they just are not, and what they leave over. */
    @TestFactory
    Stream<DynamicTest> packs() {
        return Stream.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16, DType.FLOAT64, DType.INT64, DType.UINT8)
                .map(dtype -> DynamicTest.dynamicTest(dtype.toString(), () -> {
                    List<ReductionOp> ops = dtype == DType.FLOAT32
                            ? List.of(Reductions.SUM, Reductions.ARGMIN)
                            : List.of(Reductions.SUM);
                    for (ReductionOp op : ops) {
                        for (int n : new int[] {5, 16, 127, 1024, 1031, 40_003}) {
                            Tensor x = PointwiseTest.random(dtype, n, n + 1);
                            checkView(op, x, t -> t.slice(0, 0, n));
                            checkView(op, x, t -> t.slice(0, 1, n + 1));
                        }
                        Tensor x = PointwiseTest.random(dtype, 1, 65, 48);
                        for (int dim : new int[] {0, 1}) {
                            checkView(op, x, t -> t, dim);
                            checkView(op, x, t -> t.slice(1, 8, 40), dim); // rows and columns of a wider matrix
                            checkView(op, x, t -> t.slice(1, 8, 37), dim); // a rest of each row
                            checkView(op, x, t -> t.slice(1, 1, 33), dim); // none is aligned
                        }
                        Tensor y = PointwiseTest.random(dtype, 2, 5, 6, 16);
                        checkView(op, y, t -> t, 0);
                        checkView(op, y, t -> t, 1);
                        checkView(op, y.transpose(0, 1), t -> t, 2);
                    }
                }));
    }

    @Test
    void manyInputs() {
        ReductionOp op = WEIGHTED;
        for (int size : new int[] {64, 67}) {
            Tensor x = PointwiseTest.random(DType.BFLOAT16, 1, 300, size);
            Tensor y = PointwiseTest.random(DType.FLOAT32, 2, 300, size);
            Tensor z = PointwiseTest.random(DType.FLOAT32, 3, size);
            Tensor w = PointwiseTest.random(DType.FLOAT32, 4, 300, 1);
            for (int dim : new int[] {0, 1}) {
                for (Tensor third : List.of(z, w)) {
                    List<Tensor> inputs = List.of(x, y, third);
                    List<Tensor> there =
                            inputs.stream().map(t -> t.to(Simulator.DEVICE)).toList();
                    same(
                            "three inputs of " + size + " along " + dim,
                            op.call(inputs, List.of(0.5), new int[] {dim}, false, null),
                            op.call(there, List.of(0.5), new int[] {dim}, false, null),
                            300 * 80);
                }
            }
        }
    }

    /** In one stage and in several; with scalars, and the same numbers as two ops of which the first keeps float32. */
    @Test
    void epilogues() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            for (long[] shape : new long[][] {{7, 40}, {3, 20_011}, {70_001, 2}}) {
                Tensor x = PointwiseTest.random(dtype, 1, shape);
                Tensor there = x.to(Simulator.DEVICE);
                for (int[] dims : new int[][] {{}, {0}, {1}}) {
                    double n = shape[0] * shape[1];
                    String what = x.describe() + Arrays.toString(dims);
                    same("rms " + what, RMS.call(x, dims), RMS.call(there, dims), n);
                    same("norm " + what, x.norm(dims), there.norm(dims), n);
                    same("cubes " + what, x.norm(3, dims, true), there.norm(3, dims, true), n);
                    same("std " + what, x.std(dims), there.std(dims), n);
                }
            }
        }
        List<Number> by = List.of(0.25);
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 5, 30);
        Tensor y = PointwiseTest.random(DType.FLOAT32, 2, 5, 30);
        List<Tensor> there = List.of(x.to(Simulator.DEVICE), y.to(Simulator.DEVICE));
        int[] dims = {1};
        same(
                "scaled",
                SCALED.call(List.of(x, y), by, dims, false, null),
                SCALED.call(there, by, dims, false, null),
                150);
    }

    /** As for tensors of more than 2³¹ elements. */
    @Test
    void wideIndices() {
        System.setProperty("merapi.cuda.wideIndices", "true");
        try {
            Tensor x = PointwiseTest.random(DType.FLOAT32, 3, 6, 10, 4, 12);
            for (ReductionOp op : List.of(Reductions.SUM, Reductions.ARGMAX)) {
                check(op, x);
                check(op, x, 1);
                check(op, x, 0, 2);
                check(op, x, 1, 3);
            }
        } finally {
            System.clearProperty("merapi.cuda.wideIndices");
        }
    }

    /** The plan of a large size covers it exactly, with enough blocks, and a second stage ends it. */
    @Test
    void plans() {
        for (long[] size : new long[][] {{1, 1L << 26, 1}, {1 << 18, 256, 1}, {256, 1 << 18, 0}, {3, 70_001, 0}}) {
            boolean rows = size[2] == 1;
            ReducePlan plan = ReducePlan.of(size[0], size[1], rows);
            String what = Arrays.toString(size) + " " + plan;
            assertEquals(8, plan.tx() + plan.ty(), what);
            assertEquals((size[1] + plan.chunk() - 1) / plan.chunk(), plan.chunks(), what);
            assertEquals((size[0] + (1L << plan.tx()) - 1) >> plan.tx(), plan.tiles(), what);
            if (size[0] * size[1] >= 1 << 26) {
                org.junit.jupiter.api.Assertions.assertTrue(plan.chunks() * plan.tiles() >= 8192, what);
            }
        }
        ReducePlan all = ReducePlan.of(1, 1L << 26, true);
        assertEquals(1, ReducePlan.again(1, all.chunks()).chunks(), "2^28 floats take two stages");
    }

    @Test
    void nothingToReduce() {
        Tensor x = Tensor.zeros(DType.FLOAT32, 3, 0);
        assertEquals(
                List.of(0.0, 0.0, 0.0),
                Arrays.stream(Reductions.SUM.call(x.to(Simulator.DEVICE), 1).toDoubleArray())
                        .boxed()
                        .toList());
        assertEquals(1.0, Reductions.PROD.call(x.to(Simulator.DEVICE)).item());
    }

    @Test
    void nanWins() {
        Tensor x = Tensor.of(new float[] {1, Float.NaN, 3, Float.NaN, -1}).to(Simulator.DEVICE);
        assertEquals(Double.NaN, Reductions.AMAX.call(x).item());
        assertEquals(Double.NaN, Reductions.AMIN.call(x).item());
        assertEquals(1, Reductions.ARGMAX.call(x).itemLong());
        assertEquals(1, Reductions.ARGMIN.call(x).itemLong());
    }

    @Test
    void variance() {
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 300, 41).add(1000);
        for (int dim : new int[] {0, 1}) {
            same("var", x.var(dim), x.to(Simulator.DEVICE).var(dim), 1e4);
        }
        same("var", x.var(), x.to(Simulator.DEVICE).var(), 1e4);
    }

    /** A tree: the error of the sum grows with the logarithm of its length. */
    @Test
    void longSumsStayAccurate() {
        Tensor x = Tensor.full(0.1f, 1 << 20).to(Simulator.DEVICE);
        double exact = 0.1f * (double) (1 << 20);
        assertEquals(exact, Reductions.SUM.call(x).item(), exact * 0x1p-24 * 60);
    }

    private static void check(ReductionOp op, Tensor x, int... dims) {
        Tensor expected;
        try {
            expected = op.call(x, dims);
        } catch (DTypeException e) {
            return;
        }
        double n = (double) x.numel() / Math.max(1, expected.numel());
        same(op + " " + x.describe() + Arrays.toString(dims), expected, op.call(x.to(Simulator.DEVICE), dims), n);
    }

    /** A view that is made on the device, so that it keeps its offset and strides. */
    private static void checkView(ReductionOp op, Tensor x, UnaryOperator<Tensor> view, int... dims) {
        Tensor there = view.apply(x.to(Simulator.DEVICE));
        Tensor here = view.apply(x);
        Tensor expected = op.call(here, dims);
        double n = (double) here.numel() / Math.max(1, expected.numel());
        same(op + " " + here.describe() + Arrays.toString(dims), expected, op.call(there, dims), n);
    }

    /** Within the error of a sum of {@code size} terms of size 3, and one rounding to the dtype. */
    private static void same(String what, Tensor expected, Tensor actual, double size) {
        assertEquals(expected.dtype(), actual.dtype(), what);
        assertEquals(expected.shape(), actual.shape(), what);
        double[] a = expected.toDoubleArray();
        double[] b = actual.toDoubleArray();
        for (int i = 0; i < a.length; i++) {
            double bound = expected.dtype().isFloating()
                    ? expected.dtype().epsilon() * Math.abs(a[i])
                            + 0x1p-23 * (9 * Math.sqrt(size) + 40 * Math.abs(a[i]))
                    : 0;
            if (!(a[i] == b[i] || Double.isNaN(a[i]) && Double.isNaN(b[i]) || Math.abs(a[i] - b[i]) <= bound)) {
                fail(what + ", element " + i + ": " + b[i] + " instead of " + a[i]);
            }
        }
    }
}
