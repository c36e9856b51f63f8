// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Attention;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Attention on tensor cores, simulated, against float64. */
@Tag("kernels")
class FlashTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    /** [B, H, T, D] as heads of [B, T, H·D] lie. */
    private static Tensor heads(DType dtype, long seed, long batch, long heads, long positions, long width) {
        return PointwiseTest.random(dtype, seed, batch, positions, heads, width).transpose(1, 2);
    }

    static void check(DType dtype, long batch, long heads, long queries, long keys, long width, boolean causal) {
        String what = dtype + " " + queries + " queries, " + keys + " keys of " + width + (causal ? ", causal" : "");
        double scale = 1 / Math.sqrt(width);
        List<Tensor> wide = new ArrayList<>();
        List<Tensor> there = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Tensor t = heads(dtype, i + 1, batch, heads, i == 0 ? queries : keys, width);
            wide.add(t.to(DType.FLOAT64).requiresGrad(true));
            there.add(t.transpose(1, 2)
                    .contiguous()
                    .to(Simulator.DEVICE)
                    .transpose(1, 2)
                    .requiresGrad(true));
        }
        try (Scope scope = Scope.open()) {
            Tensor expected = Attention.ATTENTION
                    .call(new Attention.Args(wide.get(0), wide.get(1), wide.get(2), causal, scale))
                    .out();
            Tensor actual = Attention.ATTENTION
                    .call(new Attention.Args(there.get(0), there.get(1), there.get(2), causal, scale))
                    .out();
            close(what, expected, actual);
            Tensor g = heads(dtype, 9, batch, heads, queries, width);
            Autograd.backward(expected, g.to(DType.FLOAT64), Autograd.Graph.FREE);
            Autograd.backward(actual, g.to(Simulator.DEVICE), Autograd.Graph.FREE);
        }
        for (int i = 0; i < 3; i++) {
            close(
                    what + ", gradient of " + "qkv".charAt(i),
                    wide.get(i).grad(),
                    there.get(i).grad());
        }
    }

    /**
     * Weights and their slopes are rounded to the dtype before they are summed, so is the result that slopes are made of,
     * and the sum itself: four roundings of what is at most as large as the largest.
     */
    private static void close(String what, Tensor expected, Tensor actual) {
        assertEquals(expected.shape(), actual.shape(), what);
        double[] e = expected.toDoubleArray();
        double[] got = actual.toDoubleArray();
        double largest = 0;
        for (double v : e) {
            largest = Math.max(largest, Math.abs(v));
        }
        double bound = 4 * largest * actual.dtype().epsilon() + 1e-6;
        for (int i = 0; i < e.length; i++) {
            if (!(Math.abs(got[i] - e[i]) <= bound)) {
                fail(what + ", element " + i + " of " + actual.describe() + ": " + got[i] + " instead of " + e[i]
                        + ", bound " + bound);
            }
        }
    }

    @Test
    void widths() {
        for (long width : new long[] {32, 64, 128}) {
            for (boolean causal : new boolean[] {false, true}) {
                check(DType.BFLOAT16, 1, 2, 70, 70, width, causal);
                check(DType.FLOAT16, 1, 1, 70, 70, width, causal);
            }
        }
    }

    @Test
    void manyAndFewPositions() {
        check(DType.BFLOAT16, 2, 1, 150, 150, 32, true);
        check(DType.BFLOAT16, 1, 1, 130, 65, 64, false);
        check(DType.BFLOAT16, 1, 1, 1, 70, 64, true);
        check(DType.BFLOAT16, 1, 2, 33, 100, 32, true);
        check(DType.FLOAT16, 1, 1, 100, 33, 32, true); // the first queries see no key
    }

    /**
     * Scores that float32 cannot hold, and what is no number, against a softmax by hand: +∞ and NaN make a row NaN, −∞ has no
     * weight beside others, and nothing that a query does not see matters to it.
     */
    @Test
    void scoresThatAreNoNumbers() {
        double inf = Double.POSITIVE_INFINITY;
        int keys = 40;
        for (double odd : new double[] {inf, -inf, Double.NaN, 3e38, -3e38, 100, -100}) {
            for (long width : new long[] {32, 24}) { // on tensor cores, and not
                double[] q = new double[keys * (int) width];
                double[] k = new double[keys * (int) width];
                double[] v = new double[keys * (int) width];
                float first = Math.abs(odd) > 1e38 && odd - odd == 0 ? 3e38f : 1;
                for (int i = 0; i < keys; i++) {
                    q[i * (int) width] = first;
                    v[i * (int) width] = i;
                }
                k[20 * (int) width] = odd;
                double[] out;
                try (Scope scope = Scope.open()) {
                    Tensor[] all = new Tensor[3];
                    double[][] numbers = {q, k, v};
                    for (int i = 0; i < 3; i++) {
                        all[i] = Tensor.of(numbers[i])
                                .reshape(1, 1, keys, width)
                                .to(DType.BFLOAT16)
                                .to(Simulator.DEVICE);
                    }
                    out = Attention.ATTENTION
                            .call(new Attention.Args(all[0], all[1], all[2], true, 1))
                            .out()
                            .toDoubleArray();
                }
                double score = first > 1 ? odd * inf : odd; // in float32
                for (int i = 0; i < keys; i++) {
                    double weight = Math.exp(Math.min(score, 88));
                    double expected = i < 20
                            ? i / 2.0
                            : Double.isNaN(score) || score == inf
                                    ? Double.NaN
                                    : (i * (i + 1) / 2.0 - 20 + 20 * weight) / (i + weight);
                    double got = out[i * (int) width];
                    String what = "score " + score + ", width " + width + ", query " + i;
                    if (Double.isNaN(expected)) {
                        assertTrue(Double.isNaN(got), what + ": " + got);
                    } else {
                        assertEquals(expected, got, expected * 0.01 + 1e-6, what);
                    }
                }
            }
        }
    }

    /** Queries, keys and values of all heads side by side, and their gradients too: nothing is brought together. */
    @Test
    void jointProjections() {
        for (DType dtype : new DType[] {DType.BFLOAT16, DType.FLOAT16, DType.FLOAT64}) {
            for (long[] shape :
                    new long[][] {{2, 70, 2, 32}, {1, 33, 3, 64}, {1, 5, 1, 128}, {2, 3, 2, 10}, {1, 1, 1, 32}}) {
                Tensor qkv = PointwiseTest.random(dtype, 5, shape[0], shape[1], 3 * shape[2] * shape[3]);
                Tensor there = qkv.to(Simulator.DEVICE).requiresGrad(true);
                Tensor wide = qkv.to(DType.FLOAT64).requiresGrad(true);
                String what = dtype + " " + java.util.Arrays.toString(shape);
                try (Scope scope = Scope.open()) {
                    Tensor expected = SelfAttention.selfAttention(wide, (int) shape[2], true);
                    Tensor actual = SelfAttention.selfAttention(there, (int) shape[2], true);
                    close(what, expected, actual);
                    Tensor g = PointwiseTest.random(dtype, 9, shape[0], shape[1], shape[2] * shape[3]);
                    Autograd.backward(expected, g.to(DType.FLOAT64), Autograd.Graph.FREE);
                    Autograd.backward(actual, g.to(Simulator.DEVICE), Autograd.Graph.FREE);
                }
                close(what + ", gradient", wide.grad(), there.grad());
            }
        }
    }

    @Test
    void gradientThatIsOneNumber() {
        Tensor q = heads(DType.BFLOAT16, 1, 1, 1, 5, 32);
        Tensor wide = q.to(DType.FLOAT64).requiresGrad(true);
        Tensor there = q.to(Simulator.DEVICE).requiresGrad(true);
        for (Tensor t : List.of(wide, there)) {
            Autograd.backward(Attention.attention(t, t, t, true).sum());
        }
        close("sum", wide.grad(), there.grad());
        assertEquals(Device.CPU, wide.device());
    }

    /** By every scale, and where float32 cannot hold the scores or an input is no number: as in plain Java. */
    @Test
    void scalesAndWhatCannotBeHeld() {
        for (double scale : new double[] {0.2, -0.2, 0, 40}) {
            for (double size : new double[] {1, 1e19, Double.NaN}) {
                Tensor q = heads(DType.BFLOAT16, 1, 1, 1, 40, 32).mul(size).to(DType.BFLOAT16);
                Tensor k = heads(DType.BFLOAT16, 2, 1, 1, 40, 32)
                        .mul(size == 1 ? 1 : 1e19)
                        .to(DType.BFLOAT16);
                Tensor v = heads(DType.BFLOAT16, 3, 1, 1, 40, 32);
                Attention.Args there = new Attention.Args(
                        q.to(Simulator.DEVICE), k.to(Simulator.DEVICE), v.to(Simulator.DEVICE), true, scale);
                String what = "scale " + scale + ", size " + size;
                Tensor actual = Attention.ATTENTION.call(there).out();
                if (size == 1) {
                    Attention.Args wide = new Attention.Args(
                            q.to(DType.FLOAT64), k.to(DType.FLOAT64), v.to(DType.FLOAT64), true, scale);
                    close(what, Attention.ATTENTION.call(wide).out(), actual);
                } else if (size != size || scale == 40) {
                    // Row 0 has one score, which is infinite or none.
                    assertTrue(Double.isNaN(actual.toDoubleArray()[0]), what);
                }
            }
        }
    }
}
