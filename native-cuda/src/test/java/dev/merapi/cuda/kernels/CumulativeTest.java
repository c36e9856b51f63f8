// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Scans;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Running products, extremes and logarithms of sums, by warps and by blocks, in one tile and in several. */
@Tag("kernels")
class CumulativeTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static double[] values(Tensor t) {
        return t.to(Device.CPU).toDoubleArray();
    }

    @ParameterizedTest
    @CsvSource({
        "1, 1, 1",
        "9, 30, 1", // more lanes than a block has warps, part of a warp
        "3, 100, 2", // four tiles of a warp, of elements that are not neighbours
        "2, 700, 1", // three tiles of a block
    })
    void runningResults(long outer, long n, long inner) {
        Tensor x = Tensor.randint(-9, 10, outer, n, inner).to(DType.FLOAT32);
        x.slice(1, n / 2, n / 2 + 1).slice(0, 0, 1).fill_(Double.NaN);
        Tensor there = x.to(Simulator.DEVICE);
        same(x.cummax(1), there.cummax(1));
        same(x.cummin(1), there.cummin(1));
        Tensor factors = Tensor.rand(outer, n, inner).mul(0.2).add(0.9);
        near(factors.cumprod(1), factors.to(Simulator.DEVICE).cumprod(1));
        Tensor logs = Tensor.randn(outer, n, inner).mul(5);
        near(logs.logCumSumExp(1), logs.to(Simulator.DEVICE).logCumSumExp(1));
    }

    private static void same(Scans.Extremes expected, Scans.Extremes actual) {
        assertArrayEquals(values(expected.values()), values(actual.values()));
        assertArrayEquals(values(expected.indices()), values(actual.indices()));
    }

    private static void near(Tensor expected, Tensor actual) {
        double[] e = values(expected);
        double[] a = values(actual);
        for (int i = 0; i < e.length; i++) {
            assertThat(a[i]).isCloseTo(e[i], within(1e-4 * Math.max(1e-3, Math.abs(e[i]))));
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void everyType(DType dtype) {
        Tensor x = Tensor.randint(0, 2, 3, 40).to(dtype);
        same(x.cummax(1), x.to(Simulator.DEVICE).cummax(1));
        assertArrayEquals(values(x.cumprod(1)), values(x.to(Simulator.DEVICE).cumprod(1)));
    }

    @Test
    void infiniteAndEmpty() {
        double none = Double.NEGATIVE_INFINITY;
        Tensor x = Tensor.of(new double[] {none, none, 1, Double.POSITIVE_INFINITY, 2});
        assertArrayEquals(
                values(x.logCumSumExp(0)), values(x.to(Simulator.DEVICE).logCumSumExp(0)));
        assertThat(x.slice(0, 0, 0).to(Simulator.DEVICE).cummax(0).values().numel())
                .isZero();
    }
}
