// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** GELU and its gradient of every number of 16 bits, simulated, against float64. */
@Tag("kernels")
class ShortGeluTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    /** All 65,536 of a dtype. */
    private static Tensor all(DType dtype) {
        double[] values = new double[1 << 16];
        for (int bits = 0; bits < values.length; bits++) {
            values[bits] = dtype == DType.BFLOAT16 ? Float.intBitsToFloat(bits << 16) : half(bits);
        }
        return Tensor.of(values).to(dtype);
    }

    private static double half(int bits) {
        int exponent = bits >> 10 & 31;
        int fraction = bits & 1023;
        double size = exponent == 31
                ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
                : exponent == 0 ? Math.scalb(fraction, -24) : Math.scalb(1024 + fraction, exponent - 25);
        return bits >> 15 == 0 ? size : -size;
    }

    /** The distance of neighbours of the dtype there. */
    private static double ulp(DType dtype, double x) {
        boolean brain = dtype == DType.BFLOAT16;
        return Math.scalb(1.0, Math.max(Math.getExponent(x), brain ? -126 : -14) - (brain ? 7 : 10));
    }

    /** The largest error in units in the last place of what is exact, or in `least` where that unit is smaller. */
    private static double worst(DType dtype, Tensor exact, Tensor actual, double least) {
        double[] e = exact.toDoubleArray();
        double[] got = actual.toDoubleArray();
        double worst = 0;
        for (int i = 0; i < e.length; i++) {
            if (Double.isNaN(e[i]) || Double.isInfinite(e[i]) || e[i] == 0) {
                assertEquals(e[i] + 0.0, got[i] + 0.0, dtype + ", pattern " + i);
            } else {
                double range = dtype == DType.FLOAT16 ? 65520 : Float.MAX_VALUE;
                double error = Math.abs(e[i]) >= range ? 0 : Math.abs(got[i] - e[i]);
                worst = Math.max(worst, error / Math.max(least, ulp(dtype, e[i])));
            }
        }
        return worst;
    }

    private static Tensor gradient(Tensor x) {
        Tensor in = x.requiresGrad(true);
        Tensor out = in.gelu();
        Tensor ones = Tensor.ones(out.shape(), out.dtype(), out.device());
        return Autograd.grad(List.of(out), List.of(in), List.of(ones), Autograd.Graph.FREE, false)
                .get(0);
    }

    @Test
    void everyNumber() {
        for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT16)) {
            Tensor x = all(dtype);
            Tensor wide = x.to(DType.FLOAT64);
            Tensor there = x.to(Simulator.DEVICE);
            double value = worst(dtype, wide.gelu(), there.gelu(), 0);
            assertTrue(value <= 0.51, dtype + ": " + value);
            // The gradient crosses zero: there the error is that of the terms, 2^-22 of a half.
            double slope = worst(dtype, gradient(wide), gradient(there), 1e-6);
            assertTrue(slope <= 0.51, dtype + ", gradient: " + slope);
        }
    }
}
