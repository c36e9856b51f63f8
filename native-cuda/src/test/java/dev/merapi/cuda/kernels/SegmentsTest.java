// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.cuda.CudaSim;
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

/** Many indices, few and many of them equal, over tiles and chunks: sums as plain Java's on the CPU, and always the same. */
@Tag("kernels")
class SegmentsTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private final Random random = new Random(5);

    private Tensor indices(int n, int size, int different) {
        long[] k = new long[n];
        for (int j = 0; j < n; j++) {
            long row = (long) random.nextInt(different) * size / different;
            k[j] = j % 3 == 0 ? row - size : row; // from the end, too
        }
        return Tensor.of(k);
    }

    /** Whole numbers, so that every order gives the same sum. */
    private Tensor values(DType dtype, long... shape) {
        Tensor t = Tensor.randint(0, 4, shape);
        return t.to(dtype);
    }

    private static double[] on(Device device, Tensor x, int dim, Tensor index, Tensor source) {
        return x.to(device)
                .copy()
                .indexAdd_(dim, index.to(device), source.to(device))
                .to(Device.CPU)
                .toDoubleArray();
    }

    @ParameterizedTest
    @CsvSource({
        "33, 5, 5, 1, 3", // one chunk
        "33, 1, 1, 2, 4",
        "100, 20, 1, 1, 8", // one segment over all chunks
        "100, 20, 20, 3, 7",
        "1000, 300, 300, 1, 1",
        "1000, 300, 7, 2, 5", // segments over several chunks
        "4500, 70000, 40, 1, 6", // two tiles, five digits
        "4500, 17, 17, 1, 300", // more lanes than a block has threads
    })
    void addRows(int n, int size, int different, int outer, int inner) {
        Tensor index = indices(n, size, different);
        Tensor x = values(DType.FLOAT32, outer, size, inner);
        Tensor source = values(DType.FLOAT32, outer, n, inner);
        assertArrayEquals(on(Device.CPU, x, 1, index, source), on(Simulator.DEVICE, x, 1, index, source));
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void ofEveryType(DType dtype) {
        Tensor index = indices(200, 9, 9);
        Tensor x = values(dtype, 9, 12);
        Tensor source = values(dtype, 200, 12);
        assertArrayEquals(on(Device.CPU, x, 0, index, source), on(Simulator.DEVICE, x, 0, index, source));
    }

    @Test
    void narrowIndices() {
        Tensor index = indices(200, 9, 9).to(DType.INT32);
        Tensor x = values(DType.FLOAT32, 9, 12);
        Tensor source = values(DType.FLOAT32, 200, 12);
        assertArrayEquals(on(Device.CPU, x, 0, index, source), on(Simulator.DEVICE, x, 0, index, source));
    }

    @Test
    void tensorsThatAreNotAligned() {
        Tensor index = indices(100, 6, 6);
        Tensor source = values(DType.FLOAT32, 801).slice(0, 1, 801).view(100, 8);
        double[] expected = on(Device.CPU, Tensor.zeros(6, 8), 0, index, source);
        Tensor there = source.to(Simulator.DEVICE);
        Tensor memory = Tensor.zeros(801).to(Simulator.DEVICE);
        Tensor shifted = memory.slice(0, 1, 801).view(100, 8).copy_(there);
        Tensor sums = Tensor.zeros(49).to(Simulator.DEVICE).slice(0, 1, 49).view(6, 8);
        sums.indexAdd_(0, index.to(Simulator.DEVICE), shifted);
        assertArrayEquals(expected, sums.to(Device.CPU).toDoubleArray());
    }

    /** One rounding of a float32 sum, not one a term: 1,000 times 1 would stop at 256 in bfloat16. */
    @Test
    void smallFloatsRoundOnce() {
        Tensor index = Tensor.zeros(DType.INT64, 1000).to(Simulator.DEVICE);
        Tensor x = Tensor.zeros(DType.BFLOAT16, 2, 4).to(Simulator.DEVICE);
        x.indexAdd_(0, index, Tensor.ones(DType.BFLOAT16, 1000, 4).to(Simulator.DEVICE));
        assertArrayEquals(
                new double[] {1000, 1000, 1000, 1000, 0, 0, 0, 0},
                x.to(Device.CPU).toDoubleArray());
    }

    @Test
    void embeddingGradientsLeaveOutThePadding() {
        Tensor index = Tensor.randint(0, 11, 15, 20);
        Tensor g = values(DType.FLOAT32, 15, 20, 6);
        Tensor[] sums = new Tensor[2];
        for (Device device : new Device[] {Device.CPU, Simulator.DEVICE}) {
            sums[device == Device.CPU ? 0 : 1] = Indexing.EMBEDDING_BACKWARD
                    .call(new Indexing.EmbeddingBackward(g.to(device), index.to(device), 11, 4))
                    .to(Device.CPU);
        }
        assertArrayEquals(sums[0].toDoubleArray(), sums[1].toDoubleArray());
        assertArrayEquals(new double[6], sums[1].select(0, 4).toDoubleArray());
    }

    @Test
    void oneDimension() {
        Tensor index = indices(500, 40, 30);
        Tensor source = values(DType.FLOAT64, 500);
        Tensor x = values(DType.FLOAT64, 40);
        Device there = Simulator.DEVICE;
        assertArrayEquals(
                x.scatterAdd(0, index, source).toDoubleArray(),
                x.to(there)
                        .scatterAdd(0, index.to(there), source.to(there))
                        .to(Device.CPU)
                        .toDoubleArray());
        Tensor distinct = Tensor.arange(0, 500, 1).to(DType.FLOAT64);
        assertArrayEquals(
                x.scatter(0, index, distinct).toDoubleArray(),
                x.to(there)
                        .scatter(0, index.to(there), distinct.to(there))
                        .to(Device.CPU)
                        .toDoubleArray(),
                "the last wins");
    }

    /** An index for each element: x[o, index[o, j, i], i] += source[o, j, i]. */
    @ParameterizedTest
    @CsvSource({
        "33, 5, 1, 2",
        "40, 1, 2, 3", // one target a lane
        "100, 700, 5, 1",
        "2500, 9, 2, 3", // two tiles of the sort, and segments over several chunks
        "33, 7, 100, 170", // so many lanes that each goes over its own
    })
    void anIndexForEachElement(int n, int size, int outer, int inner) {
        int all = outer * n * inner;
        Device there = Simulator.DEVICE;
        Tensor index = indices(all, size, size).view(outer, n, inner);
        Tensor x = values(DType.FLOAT32, outer, size, inner);
        Tensor source = values(DType.FLOAT32, outer, n, inner);
        assertArrayEquals(
                x.scatterAdd(1, index, source).toDoubleArray(),
                x.to(there)
                        .scatterAdd(1, index.to(there), source.to(there))
                        .to(Device.CPU)
                        .toDoubleArray());
        Tensor distinct = Tensor.arange(0, all, 1).to(DType.FLOAT32).view(outer, n, inner);
        assertArrayEquals(
                x.scatter(1, index, distinct).toDoubleArray(),
                x.to(there)
                        .scatter(1, index.to(there), distinct.to(there))
                        .to(Device.CPU)
                        .toDoubleArray(),
                "the last wins");
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void anIndexForEachElementOfEveryType(DType dtype) {
        Device there = Simulator.DEVICE;
        Tensor index = indices(240, 5, 5).view(2, 40, 3).to(DType.INT32);
        Tensor x = values(dtype, 2, 5, 3);
        Tensor source = values(dtype, 2, 40, 3);
        assertArrayEquals(
                x.scatterAdd(1, index, source).toDoubleArray(),
                x.to(there)
                        .scatterAdd(1, index.to(there), source.to(there))
                        .to(Device.CPU)
                        .toDoubleArray());
    }

    @Test
    void withChecks() {
        if (Simulator.BY_A_DRIVER) {
            return;
        }
        CudaSim.setChecks(true);
        try {
            for (long order : new long[] {5, 17}) {
                CudaSim.setOrder(order);
                addRows(1000, 300, 7, 2, 5);
                addRows(100, 20, 1, 1, 8);
                anIndexForEachElement(700, 9, 2, 3);
            }
        } finally {
            CudaSim.setChecks(false);
            CudaSim.setOrder(0);
        }
    }

    @Test
    void theOrderOfSumsIsAlwaysTheSame() {
        Tensor index = indices(700, 5, 5).to(Simulator.DEVICE);
        Tensor source = Tensor.randn(700, 33).to(Simulator.DEVICE);
        double[] first = null;
        for (int i = 0; i < 3; i++) {
            double[] sums = Tensor.zeros(5, 33)
                    .to(Simulator.DEVICE)
                    .indexAdd_(0, index, source)
                    .to(Device.CPU)
                    .toDoubleArray();
            assertArrayEquals(first == null ? sums : first, sums);
            first = sums;
        }
        double[] exact = Tensor.zeros(DType.FLOAT64, 5, 33)
                .indexAdd_(0, index.to(Device.CPU), source.to(Device.CPU).to(DType.FLOAT64))
                .toDoubleArray();
        assertArrayEquals(exact, first, 1e-4);
    }
}
