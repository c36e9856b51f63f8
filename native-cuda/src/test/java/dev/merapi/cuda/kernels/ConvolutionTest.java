// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.cuda.Simulator;
import dev.merapi.dispatch.Precision;
import dev.merapi.ops.Convolution;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Convolution and its gradients in tiles and directly, against the CPU's in float64. */
@Tag("kernels")
class ConvolutionTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    /** Sizes of x and of the weight, then stride, padding and dilation, of height and of width, and groups. */
    private record Case(long[] x, long[] weight, long[] moves, long groups) {
        long[] stride() {
            return new long[] {moves[0], moves[1]};
        }

        long[] padding() {
            return new long[] {moves[2], moves[3]};
        }

        long[] dilation() {
            return new long[] {moves[4], moves[5]};
        }

        Tensor forward(Tensor x, Tensor w, @Nullable Tensor bias) {
            return Convolution.CONV2D.call(new Convolution.Conv2d(x, w, bias, stride(), padding(), dilation(), groups));
        }

        Tensor inputGradient(Tensor g, Tensor w) {
            return Convolution.CONV2D_INPUT_GRADIENT.call(new Convolution.InputGradient(
                    g, w, new long[] {x[2], x[3]}, stride(), padding(), dilation(), groups));
        }

        Tensor weightGradient(Tensor g, Tensor x) {
            return Convolution.CONV2D_WEIGHT_GRADIENT.call(new Convolution.WeightGradient(
                    g, x, new long[] {weight[2], weight[3]}, stride(), padding(), dilation(), groups));
        }
    }

    private static Case of(long[] x, long[] weight, long... moves) {
        return new Case(x, weight, moves, x[1] / weight[1]);
    }

    private static long[] s(long... sizes) {
        return sizes;
    }

    private static final List<Case> CASES = List.of(
            of(s(2, 3, 9, 11), s(20, 3, 3, 3), 1, 1, 1, 1, 1, 1),
            of(s(3, 1, 12, 12), s(16, 1, 5, 5), 1, 1, 2, 2, 1, 1),
            of(s(2, 9, 13, 7), s(67, 9, 3, 2), 2, 3, 1, 0, 1, 2),
            of(s(1, 24, 10, 11), s(34, 12, 3, 3), 2, 1, 2, 3, 2, 1), // two groups
            of(s(2, 40, 4, 8), s(72, 40, 1, 1), 1, 1, 0, 0, 1, 1), // whole pieces on both sides
            of(s(2, 40, 5, 5), s(8, 40, 1, 1), 2, 2, 1, 1, 1, 1),
            of(s(5, 8, 1, 9), s(8, 8, 1, 3), 1, 1, 0, 1, 1, 1),
            of(s(2, 6, 8, 8), s(6, 1, 3, 3), 1, 1, 1, 1, 1, 1), // depthwise: directly
            of(s(1, 64, 3, 3), s(16, 64, 3, 3), 1, 1, 1, 1, 1, 1)); // k in parts

    private static Tensor random(DType dtype, long seed, long... shape) {
        return PointwiseTest.random(dtype, seed, shape);
    }

    private static Tensor there(Tensor t) {
        return t.to(Simulator.DEVICE);
    }

    private static Tensor wide(Tensor t) {
        return t.to(DType.FLOAT64);
    }

    /** Within the error of a float32 sum whose terms have these sizes, and one rounding to the dtype. */
    private static void close(String what, Tensor expected, Tensor sizes, Tensor actual, double operands) {
        assertEquals(expected.shape(), actual.shape(), what);
        double[] e = expected.toDoubleArray();
        double[] size = sizes.toDoubleArray();
        double[] got = actual.toDoubleArray();
        double unit = actual.dtype() == DType.FLOAT64 ? 0x1p-53 : 0x1p-24;
        for (int i = 0; i < e.length; i++) {
            double bound = size[i] * (1000 * unit + operands)
                    + Math.abs(e[i]) * actual.dtype().epsilon()
                    + unit;
            if (!(Math.abs(got[i] - e[i]) <= bound)) {
                fail(what + ", element " + i + " of " + actual.describe() + ": " + got[i] + " instead of " + e[i]
                        + ", bound " + bound);
            }
        }
    }

    private static void check(Case c, DType dtype, double operands) {
        try (Scope scope = Scope.open()) {
            String what = dtype + " " + c;
            Tensor x = random(dtype, 1, c.x);
            Tensor w = random(dtype, 2, c.weight);
            Tensor bias = random(dtype, 3, c.weight[0]);
            Tensor expected = c.forward(wide(x), wide(w), wide(bias));
            Tensor sizes = c.forward(wide(x).abs(), wide(w).abs(), wide(bias).abs());
            close(what, expected, sizes, c.forward(there(x), there(w), there(bias)), operands);
            Tensor g = random(dtype, 4, expected.shape().toArray());
            close(
                    what + " gradient of x",
                    c.inputGradient(wide(g), wide(w)),
                    c.inputGradient(wide(g).abs(), wide(w).abs()),
                    c.inputGradient(there(g), there(w)),
                    operands);
            close(
                    what + " gradient of the weight",
                    c.weightGradient(wide(g), wide(x)),
                    c.weightGradient(wide(g).abs(), wide(x).abs()),
                    c.weightGradient(there(g), there(x)),
                    operands);
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "FLOAT64", "BFLOAT16", "FLOAT16"})
    void againstTheCpu(DType dtype) {
        // Kernels for both 16-bit types differ in conversions alone.
        for (Case c : dtype == DType.FLOAT16 ? CASES.subList(2, 4) : CASES) {
            check(c, dtype, 0);
        }
    }

    @Test
    void largeTilesAndParts() {
        Case parts = of(s(6, 8, 16, 17), s(9, 8, 3, 3), 1, 1, 1, 1, 1, 1);
        assertEquals(3, Gemm.Tile.FLAT.splits(9, 72, 6 * 16 * 17, 1));
        // 64 products of 65 rows, and so many columns that a tile of 128 is needed for each.
        Case large = of(s(1, 64 * 65, 6, 11), s(64 * 65, 65, 1, 1), 1, 1, 0, 0, 1, 1);
        assertEquals(Gemm.Tile.LARGE, Gemm.Tile.of(65, 65, 65, 64));
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            check(parts, dtype, 0);
            check(large, dtype, 0);
        }
        Tensor x = random(DType.FLOAT32, 1, parts.x);
        Tensor g = random(DType.FLOAT32, 2, 6, 9, 16, 17);
        assertArrayEquals(
                parts.weightGradient(there(g), there(x)).toDoubleArray(),
                parts.weightGradient(there(g), there(x)).toDoubleArray());
    }

    @Test
    void roundedToTf32OnlyWhereAllowed() {
        Case c = CASES.get(2);
        Tensor x = there(random(DType.FLOAT32, 1, c.x));
        Tensor w = there(random(DType.FLOAT32, 2, c.weight));
        Tensor exact = c.forward(x, w, null);
        Precision.allowTf32(true);
        try {
            for (Case each : CASES.subList(2, 5)) {
                check(each, DType.FLOAT32, 0x1.01p-10);
            }
            assertTrue(c.forward(x, w, null).sub(exact).abs().max().item() > 1e-5, "nothing was rounded");
        } finally {
            Precision.allowTf32(false);
        }
    }

    @Test
    void distancesOf64Bits() {
        System.setProperty("merapi.cuda.wideIndices", "true");
        try {
            check(CASES.get(2), DType.FLOAT32, 0);
            check(CASES.get(3), DType.BFLOAT16, 0);
        } finally {
            System.clearProperty("merapi.cuda.wideIndices");
        }
    }

    @Test
    void nothingToSum() {
        Case none = new Case(s(2, 0, 5, 5), s(8, 0, 3, 3), s(1, 1, 1, 1, 1, 1), 1);
        Tensor bias = random(DType.FLOAT32, 1, 8);
        Tensor y = none.forward(there(Tensor.zeros(2, 0, 5, 5)), there(Tensor.zeros(8, 0, 3, 3)), there(bias));
        assertArrayEquals(bias.reshape(1, 8, 1, 1).expand(2, 8, 5, 5).toDoubleArray(), y.toDoubleArray());
        Case empty = of(s(0, 8, 5, 5), s(8, 8, 3, 3), 1, 1, 1, 1, 1, 1);
        Tensor w = there(Tensor.zeros(8, 8, 3, 3));
        assertEquals(0, empty.forward(there(Tensor.zeros(0, 8, 5, 5)), w, null).numel());
        Tensor dw = empty.weightGradient(there(Tensor.zeros(0, 8, 5, 5)), there(Tensor.zeros(0, 8, 5, 5)));
        assertArrayEquals(new double[8 * 8 * 9], dw.toDoubleArray());
    }
}
