// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.cuda.Simulator;
import dev.merapi.dispatch.Precision;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Our own tiles in the simulator: every layout, tails, both sizes of tile, parts of k, batches. */
@Tag("kernels")
class GemmTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor random(DType dtype, long seed, long... shape) {
        return PointwiseTest.random(dtype, seed, shape);
    }

    private static Tensor transposed(Tensor t) {
        return t.transpose(-2, -1).contiguous().transpose(-2, -1);
    }

    /** The product on both devices, within the error of a float32 sum and one rounding to the dtype. */
    private static Tensor check(
            String what, Tensor a, Tensor b, boolean aTransposed, boolean bTransposed, double operands) {
        Tensor left = a.to(Simulator.DEVICE);
        Tensor right = b.to(Simulator.DEVICE);
        left = aTransposed ? transposed(left) : left;
        right = bTransposed ? transposed(right) : right;
        Tensor actual = LinearAlgebra.matmul(left, right);
        Tensor wideA = a.to(DType.FLOAT64);
        Tensor wideB = b.to(DType.FLOAT64);
        close(
                what,
                LinearAlgebra.matmul(wideA, wideB),
                LinearAlgebra.matmul(wideA.abs(), wideB.abs()),
                actual,
                a.size(-1),
                operands);
        return actual;
    }

    private static void close(String what, Tensor expected, Tensor sizes, Tensor actual, long terms, double operands) {
        assertEquals(expected.shape(), actual.shape(), what);
        double[] e = expected.toDoubleArray();
        double[] s = sizes.toDoubleArray();
        double[] got = actual.toDoubleArray();
        for (int i = 0; i < e.length; i++) {
            double bound = s[i] * ((terms + 4) * 0x1p-24 + operands)
                    + Math.abs(e[i]) * actual.dtype().epsilon()
                    + 0x1p-24;
            if (!(Math.abs(got[i] - e[i]) <= bound)) {
                fail(what + ", element " + i + " of " + actual.describe() + ": " + got[i] + " instead of " + e[i]
                        + ", bound " + bound);
            }
        }
    }

    private static final String[] LAYOUTS = {"NN", "NT", "TN", "TT"};

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
    void layoutsAndTails(DType dtype) {
        for (String layout : LAYOUTS) {
            for (long[] mnk :
                    new long[][] {{64, 64, 32}, {72, 136, 40}, {65, 67, 71}, {1, 8, 100}, {9, 1, 1}, {3, 5, 2}}) {
                try (Scope scope = Scope.open()) {
                    check(
                            dtype + " " + layout + " " + mnk[0] + "x" + mnk[1] + "x" + mnk[2],
                            random(dtype, 1, mnk[0], mnk[2]),
                            random(dtype, 2, mnk[2], mnk[1]),
                            layout.charAt(0) == 'T',
                            layout.charAt(1) == 'T',
                            0);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "BFLOAT16"})
    void largeTiles(DType dtype) {
        for (String layout : LAYOUTS) {
            for (long[] mnk : new long[][] {{136, 144, 104}, {129, 131, 37}}) {
                assertEquals(Gemm.Tile.LARGE, Gemm.Tile.of(mnk[0], mnk[1], mnk[2], 16));
                try (Scope scope = Scope.open()) {
                    check(
                            dtype + " " + layout + " batch of " + mnk[0] + "x" + mnk[1] + "x" + mnk[2],
                            random(dtype, 1, 16, mnk[0], mnk[2]),
                            random(dtype, 2, 16, mnk[2], mnk[1]),
                            layout.charAt(0) == 'T',
                            layout.charAt(1) == 'T',
                            0);
                }
            }
        }
    }

    @Test
    void roundedToTf32OnlyWhereAllowed() {
        Tensor a = random(DType.FLOAT32, 1, 70, 200);
        Tensor b = random(DType.FLOAT32, 2, 200, 66);
        Tensor exact = check("float32", a, b, false, false, 0);
        Precision.allowTf32(true);
        try {
            for (String layout : LAYOUTS) {
                Tensor rounded =
                        check("tf32 " + layout, a, b, layout.charAt(0) == 'T', layout.charAt(1) == 'T', 0x1.01p-10);
                assertTrue(rounded.sub(exact).abs().max().item() > 1e-5, "nothing was rounded: " + layout);
            }
            check(
                    "large tf32",
                    random(DType.FLOAT32, 1, 16, 130, 40),
                    random(DType.FLOAT32, 2, 16, 40, 132),
                    true,
                    true,
                    0x1.01p-10);
        } finally {
            Precision.allowTf32(false);
        }
    }

    @Test
    void partsOfK() {
        assertEquals(5, Gemm.Tile.SMALL.splits(20, 24, 2600, 1));
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            try (Scope scope = Scope.open()) {
                Tensor a = random(dtype, 1, 2600, 20);
                Tensor b = random(dtype, 2, 2600, 24);
                Tensor once = check("tall " + dtype, a.t(), b, false, false, 0);
                Tensor again = check("tall " + dtype, a.t(), b, false, false, 0);
                assertArrayEquals(once.toDoubleArray(), again.toDoubleArray());
                check(
                        "tall batch " + dtype,
                        random(dtype, 3, 2, 3, 1100),
                        random(dtype, 4, 2, 1100, 5),
                        false,
                        false,
                        0);
                check(
                        "tall to large tiles " + dtype,
                        random(dtype, 5, 4, 129, 1024),
                        random(dtype, 6, 4, 1024, 130),
                        false,
                        false,
                        0);
            }
        }
    }

    @Test
    void batchesThatBroadcast() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
            try (Scope scope = Scope.open()) {
                check("rows of one " + dtype, random(dtype, 1, 3, 4, 5, 24), random(dtype, 2, 24, 16), false, false, 0);
                check("one for all " + dtype, random(dtype, 1, 5, 24), random(dtype, 2, 3, 4, 24, 16), false, false, 0);
                check(
                        "crossed " + dtype,
                        random(dtype, 1, 3, 1, 5, 24),
                        random(dtype, 2, 1, 4, 24, 16),
                        true,
                        false,
                        0);
                Tensor x = random(dtype, 1, 6, 10, 4, 16);
                check("heads " + dtype, x.transpose(1, 2), x.transpose(1, 2).transpose(2, 3), false, false, 0);
                check(
                        "no unit stride " + dtype,
                        x.transpose(0, 3),
                        x.transpose(0, 3).transpose(2, 3),
                        false,
                        false,
                        0);
            }
        }
    }

    @Test
    void bias() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16)) {
            for (long[] mnk : new long[][] {{70, 72, 40}, {70, 71, 40}, {9, 8, 1100}}) {
                try (Scope scope = Scope.open()) {
                    Tensor x = random(dtype, 1, mnk[0], mnk[2]);
                    Tensor w = random(dtype, 2, mnk[1], mnk[2]);
                    Tensor bias = random(dtype, 3, mnk[1]);
                    Tensor actual = LinearAlgebra.linear(
                            x.to(Simulator.DEVICE), w.to(Simulator.DEVICE), bias.to(Simulator.DEVICE));
                    Tensor wideX = x.to(DType.FLOAT64);
                    Tensor wideW = w.to(DType.FLOAT64);
                    Tensor wideBias = bias.to(DType.FLOAT64);
                    close(
                            "linear " + dtype,
                            LinearAlgebra.linear(wideX, wideW, wideBias),
                            LinearAlgebra.linear(wideX.abs(), wideW.abs(), wideBias.abs()),
                            actual,
                            mnk[2],
                            0);
                }
            }
        }
    }
}
