// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.error.DTypeException;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Reductions on the simulator against the plain-Java kernels, which accumulate in float64 or long. */
@Tag("kernels")
class ReduceTest {
    static final List<ReductionOp> OPS = List.of(
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
