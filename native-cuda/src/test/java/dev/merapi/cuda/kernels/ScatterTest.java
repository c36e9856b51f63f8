// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.merapi.cuda.Simulator;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Rows put and values reduced on the simulator, and places in rows: as plain Java has them. */
@Tag("kernels")
class ScatterTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor there(Tensor t) {
        return t.to(Simulator.DEVICE);
    }

    private static double[] values(Tensor t) {
        return t.to(Device.CPU).toDoubleArray();
    }

    @ParameterizedTest
    @EnumSource(Reduce.class)
    void reduced(Reduce reduce) {
        Tensor index = Tensor.randint(-5, 5, 3, 400, 2);
        for (DType dtype : new DType[] {DType.FLOAT64, DType.INT32, DType.INT8}) {
            Tensor x = Tensor.randint(-2, 3, 3, 5, 2).to(dtype);
            Tensor src = Tensor.randint(-2, 3, 3, 400, 2).to(dtype);
            for (boolean self : new boolean[] {true, false}) {
                assertArrayEquals(
                        values(x.scatterReduce(1, index, src, reduce, self)),
                        values(there(x).scatterReduce(1, there(index), there(src), reduce, self)));
            }
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void rowsPut(DType dtype) {
        Tensor x = Tensor.randint(0, 50, 2, 9, 6).to(dtype);
        for (int n : new int[] {4, 70}) {
            Tensor index = Tensor.randint(-9, 9, n);
            Tensor src = Tensor.randint(0, 50, 2, n, 6).to(dtype);
            assertArrayEquals(
                    values(x.indexCopy(1, index, src)), values(there(x).indexCopy(1, there(index), there(src))));
        }
        Tensor sorted = Tensor.randint(0, 50, 2, 300).to(dtype).sort(1).values();
        Tensor some = Tensor.randint(0, 50, 2, 40).to(dtype);
        for (boolean right : new boolean[] {true, false}) {
            assertArrayEquals(
                    values(sorted.searchSorted(some, right)),
                    values(there(sorted).searchSorted(there(some), right)));
        }
    }

    @Test
    void indicesOutOfRange() {
        Tensor x = there(Tensor.zeros(3));
        Tensor bad = there(Tensor.of(0L, 3L));
        Tensor src = there(Tensor.zeros(2));
        assertThrows(ShapeException.class, () -> x.indexCopy(0, bad, src));
        assertThrows(ShapeException.class, () -> x.scatterReduce(0, bad, src, Reduce.AMAX, true));
    }
}
