// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Indexing;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Running sums by warps, blocks, chunks and columns; what is not 0 in many places, everywhere and nowhere. */
@Tag("kernels")
class ScanTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static double[] values(Tensor t) {
        return t.to(Device.CPU).toDoubleArray();
    }

    /** Whole numbers, whose sums are exact in every order. */
    @ParameterizedTest
    @CsvSource({
        "1, 1, 1",
        "1, 30, 1", // part of a warp's tile
        "5, 256, 1", // two tiles of a warp
        "3, 257, 1", // a block
        "3, 2052, 1", // more than two tiles of a block, in packs
        "1, 16388, 1", // three chunks
        "2, 9001, 3", // chunks of elements that are not neighbours
        "2, 17, 4100", // columns
    })
    void runningSums(long outer, long n, long inner) {
        for (DType dtype : new DType[] {DType.FLOAT32, DType.INT64}) {
            Tensor x = Tensor.randint(-3, 4, outer, n, inner).to(dtype);
            assertArrayEquals(values(x.cumsum(1)), values(x.to(Simulator.DEVICE).cumsum(1)));
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void sumsOfEveryType(DType dtype) {
        Tensor x = Tensor.randint(0, 2, 3, 40).to(dtype);
        Tensor sums = x.to(Simulator.DEVICE).cumsum(1);
        assertThat(sums.dtype()).isEqualTo(x.cumsum(1).dtype());
        assertArrayEquals(values(x.cumsum(1)), values(sums));
    }

    /** Sums of chunks and of threads: in another order than one by one, but as near to the truth. */
    @Test
    void sumsOfFractions() {
        Tensor x = Tensor.randn(20_000);
        double[] exact = values(x.to(DType.FLOAT64).cumsum(0));
        double[] sums = values(x.to(Simulator.DEVICE).cumsum(0));
        double largest = java.util.Arrays.stream(exact).map(Math::abs).max().orElseThrow();
        for (int i = 0; i < exact.length; i++) {
            assertThat(sums[i]).isCloseTo(exact[i], within(largest * 0x1p-23 * 40));
        }
        assertArrayEquals(sums, values(x.to(Simulator.DEVICE).cumsum(0)), "always the same");
    }

    @Test
    void afterTheInfiniteAllIs() {
        Tensor x = Tensor.ones(10_000);
        x.slice(0, 8300, 8301).fill_(Double.POSITIVE_INFINITY);
        double[] sums = values(x.to(Simulator.DEVICE).cumsum(0));
        assertThat(sums[8299]).isEqualTo(8300);
        assertThat(java.util.Arrays.stream(sums).skip(8300).allMatch(sum -> sum == Double.POSITIVE_INFINITY))
                .isTrue();
    }

    @Test
    void sumsThatAreNotAligned() {
        Tensor memory = Tensor.ones(4097).to(Simulator.DEVICE);
        assertThat(values(memory.slice(0, 1, 4097).cumsum(0))).endsWith(4095, 4096);
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "7, 100", "3, 2731", "5, 5000"})
    void whatIsNotZero(long rows, long columns) {
        Tensor some = Tensor.randint(0, 3, rows, columns).to(DType.FLOAT32);
        for (Tensor x : new Tensor[] {some, Tensor.ones(rows, columns), Tensor.zeros(rows, columns)}) {
            Tensor found = Indexing.NONZERO.call(new Indexing.NonZero(x.to(Simulator.DEVICE)));
            Tensor expected = Indexing.NONZERO.call(new Indexing.NonZero(x));
            assertThat(found.shape()).isEqualTo(expected.shape());
            assertArrayEquals(values(expected), values(found));
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void notZeroOfEveryType(DType dtype) {
        Tensor x = Tensor.randint(0, 2, 2, 3, 1, 5).to(dtype);
        assertArrayEquals(
                values(Indexing.NONZERO.call(new Indexing.NonZero(x))),
                values(Indexing.NONZERO.call(new Indexing.NonZero(x.to(Simulator.DEVICE)))));
    }
}
