// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Indexing;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Rows and elements that indices choose: bit for bit what plain Java finds, in packs of every width. */
@Tag("kernels")
class LookupTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private final Random random = new Random(3);

    /** Indices from both ends. */
    private Tensor indices(int size, long... shape) {
        int n = 1;
        for (long s : shape) {
            n *= (int) s;
        }
        long[] k = new long[n];
        for (int j = 0; j < n; j++) {
            k[j] = random.nextInt(2 * size) - size;
        }
        return Tensor.of(k, shape);
    }

    private static double[] values(Tensor t) {
        return t.to(Device.CPU).toDoubleArray();
    }

    @ParameterizedTest
    @CsvSource({
        "1, 5, 7, 1", // a thread a row
        "3, 5, 300, 1", // more rows than a block has threads, by outer
        "2, 4, 3, 6", // packs of 2
        "1, 9, 40, 36", // of 4; threads across that have nothing to do
        "2, 3, 5, 1500", // more packs than a block has threads
        "1, 3, 5, 4099", // single elements, blocks side by side
    })
    void rows(long outer, int size, long n, long inner) {
        Tensor x = Tensor.randn(outer, size, inner);
        Tensor index = indices(size, n);
        for (DType type : new DType[] {DType.INT64, DType.INT32}) {
            Tensor at = index.to(type);
            assertArrayEquals(
                    values(x.indexSelect(1, at)),
                    values(x.to(Simulator.DEVICE).indexSelect(1, at.to(Simulator.DEVICE))));
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void ofEveryType(DType dtype) {
        Tensor x = Tensor.randint(0, 50, 6, 48).to(dtype);
        Tensor some = indices(6, 4, 5);
        assertArrayEquals(
                values(Indexing.EMBEDDING.call(new Indexing.Embedding(x, some, -1))),
                values(Indexing.EMBEDDING.call(
                        new Indexing.Embedding(x.to(Simulator.DEVICE), some.to(Simulator.DEVICE), -1))));
        Tensor each = indices(6, 11, 48);
        assertArrayEquals(
                values(x.gather(0, each)), values(x.to(Simulator.DEVICE).gather(0, each.to(Simulator.DEVICE))));
    }

    @Test
    void tensorsThatAreNotAligned() {
        Tensor x = Tensor.randn(6 * 8 + 1).slice(0, 1, 49).view(6, 8);
        Tensor index = indices(6, 10);
        Tensor there = Tensor.zeros(49).to(Simulator.DEVICE).slice(0, 1, 49).view(6, 8);
        there.copy_(x.to(Simulator.DEVICE));
        assertArrayEquals(values(x.indexSelect(0, index)), values(there.indexSelect(0, index.to(Simulator.DEVICE))));
    }

    @ParameterizedTest
    @CsvSource({"0", "1", "2"})
    void elements(int dim) {
        Tensor x = Tensor.randn(7, 9, 11);
        long[] shape = {7, 9, 11};
        shape[dim] = 200;
        Tensor index = indices((int) x.size(dim), shape);
        assertArrayEquals(
                values(x.gather(dim, index)), values(x.to(Simulator.DEVICE).gather(dim, index.to(Simulator.DEVICE))));
    }

    @Test
    void ofNothing() {
        Tensor x = Tensor.randn(4, 0).to(Simulator.DEVICE);
        assertArrayEquals(
                new long[] {2, 0},
                x.indexSelect(0, Tensor.of(1L, 2L).to(Simulator.DEVICE)).shape().toArray());
        Tensor none = Tensor.zeros(DType.INT64, 0).to(Simulator.DEVICE);
        assertArrayEquals(
                new long[] {0, 3},
                Tensor.randn(4, 3)
                        .to(Simulator.DEVICE)
                        .indexSelect(0, none)
                        .shape()
                        .toArray());
    }
}
