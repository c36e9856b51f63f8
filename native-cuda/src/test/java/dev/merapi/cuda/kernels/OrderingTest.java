// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Ordering;
import dev.merapi.reference.OrderingReference;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Rows within a block and rows over many, bit for bit as a stable sort in plain Java has them. */
@Tag("kernels")
class OrderingTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @AfterEach
    void unchecked() {
        if (!Simulator.BY_A_DRIVER) {
            CudaSim.setChecks(false);
            CudaSim.setOrder(0);
        }
    }

    private final Random random = new Random(11);

    /** Of each dtype what orders badly: the extremes, NaN of either sign, both zeros, and many equals. */
    private Tensor rows(DType dtype, int rows, int n) {
        int all = rows * n;
        switch (dtype) {
            case INT64 -> {
                long[] x = new long[all];
                for (int i = 0; i < all; i++) {
                    x[i] = switch (random.nextInt(8)) {
                        case 0 -> Long.MIN_VALUE;
                        case 1 -> Long.MAX_VALUE;
                        case 2 -> random.nextInt(5) - 2;
                        case 3 -> (long) random.nextInt(3) << 32;
                        default -> random.nextLong();
                    };
                }
                return Tensor.of(x, rows, n);
            }
            case INT32 -> {
                int[] x = new int[all];
                for (int i = 0; i < all; i++) {
                    x[i] = switch (random.nextInt(8)) {
                        case 0 -> Integer.MIN_VALUE;
                        case 1 -> Integer.MAX_VALUE;
                        case 2 -> random.nextInt(5) - 2;
                        default -> random.nextInt();
                    };
                }
                return Tensor.of(x, rows, n);
            }
            default -> {
                double[] x = new double[all];
                for (int i = 0; i < all; i++) {
                    x[i] = switch (dtype.isFloating() ? random.nextInt(12) : 9) {
                        case 0 -> Double.NaN;
                        case 1 -> -0.0;
                        case 2 -> 0.0;
                        case 3 -> Double.NEGATIVE_INFINITY;
                        case 4 -> Double.POSITIVE_INFINITY;
                        case 5 -> random.nextInt(4);
                        case 9 -> random.nextInt(dtype == DType.BOOL ? 2 : 256);
                        default -> random.nextGaussian();
                    };
                }
                return Tensor.of(x, rows, n).to(dtype);
            }
        }
    }

    private static void check(Tensor x, long k, boolean largest) {
        Ordering.Ordered there = x.to(Simulator.DEVICE).topk(k, -1, largest);
        Ordering.Ordered expected =
                new Ordering.Ordered(Tensor.zeros(x.dtype(), x.size(0), k), Tensor.zeros(DType.INT64, x.size(0), k));
        OrderingReference.topk(new Ordering.TopK(x, k, largest), expected);
        String what = x.describe() + ", the first " + k + (largest ? " falling" : " rising");
        assertArrayEquals(
                expected.indices().toLongArray(), there.indices().to(Device.CPU).toLongArray(), what);
        Tensor values = there.values().to(Device.CPU);
        if (x.dtype() == DType.INT64) {
            assertArrayEquals(expected.values().toLongArray(), values.toLongArray(), what);
        } else {
            assertArrayEquals(expected.values().toDoubleArray(), values.toDoubleArray(), what);
        }
    }

    @ParameterizedTest
    @EnumSource(DType.class)
    void ofEveryType(DType dtype) {
        for (boolean largest : new boolean[] {false, true}) {
            check(rows(dtype, 3, 70), 70, largest);
            check(rows(dtype, 2, 9001), 9001, largest); // three tiles, the last of them short
        }
    }

    @ParameterizedTest
    @CsvSource({
        "5, 1, 1", // one pair of a row
        "3, 33, 7",
        "2, 255, 255", // a key a thread
        "2, 256, 256",
        "2, 257, 100", // four
        "2, 1024, 3",
        "2, 1025, 1025", // sixteen
        "2, 4095, 4095",
        "2, 4096, 4096", // a tile
        "2, 4097, 4097", // and one more
        "1, 8192, 8192",
        "4, 12289, 5",
        "20, 4100, 4100", // blocks go over several rows
        "1, 140000, 140000", // more tiles than their sums have threads across
    })
    void ofManyLengths(int rows, int n, int k) {
        check(rows(DType.FLOAT32, rows, n), k, true);
    }

    @Test
    void equalsKeepTheirOrderOverTiles() {
        check(Tensor.zeros(DType.INT32, 2, 10000), 10000, true);
        check(Tensor.ones(DType.INT64, 2, 10000), 10000, false);
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "FLOAT64", "UINT8"})
    void withChecks(DType dtype) {
        if (Simulator.BY_A_DRIVER) {
            return;
        }
        CudaSim.setChecks(true);
        for (long order : new long[] {5, 17}) {
            CudaSim.setOrder(order);
            check(rows(dtype, 3, 300), 300, true);
            check(rows(dtype, 2, 5000), 11, false);
        }
    }
}
