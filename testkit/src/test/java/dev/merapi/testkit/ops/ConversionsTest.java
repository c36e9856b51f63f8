// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Numbers from one dtype to another, by what arithmetic says, not by what some code does. */
class ConversionsTest {
    /**
     * Between each number of 16 bits and the next: the middle goes to the even one, and what is a hair beside it to the
     * nearer one. Through float32 the hair would be lost, and the result rounded twice.
     */
    @ParameterizedTest
    @EnumSource(names = {"FLOAT16", "BFLOAT16"})
    void doublesAreRoundedOnce(DType dtype) {
        int infinity = dtype == DType.FLOAT16 ? 0x7c00 : 0x7f80;
        int patterns = infinity - 1; // between finite neighbours
        double[] values = new double[6 * patterns];
        double[] expected = new double[values.length];
        double[] all = new double[infinity];
        for (int bits = 0; bits < infinity; bits++) {
            all[bits] = value(bits, dtype);
        }
        for (int bits = 0; bits < patterns; bits++) {
            double low = all[bits];
            double high = all[bits + 1];
            double middle = low + (high - low) / 2; // exact
            double[] at = {Math.nextDown(middle), middle, Math.nextUp(middle)};
            double[] to = {low, (bits & 1) == 0 ? low : high, high};
            for (int k = 0; k < 3; k++) {
                values[6 * bits + k] = at[k];
                expected[6 * bits + k] = to[k];
                values[6 * bits + 3 + k] = -at[k];
                expected[6 * bits + 3 + k] = -to[k];
            }
        }
        try (Scope scope = Scope.open()) {
            assertEqual(Tensor.of(values).to(dtype), expected, values);
            Tensor written = Tensor.zeros(dtype, values.length);
            written.copy_(Tensor.of(values));
            assertEqual(written, expected, values);
        }
    }

    private static void assertEqual(Tensor actual, double[] expected, double[] values) {
        double[] numbers = actual.toDoubleArray();
        for (int i = 0; i < expected.length; i++) {
            assertThat(numbers[i]).as("%s of %a", actual.dtype(), values[i]).isEqualTo(expected[i]);
        }
    }

    private static double value(int bits, DType dtype) {
        int exponentBits = dtype == DType.FLOAT16 ? 5 : 8;
        int fractionBits = 15 - exponentBits;
        int bias = (1 << exponentBits - 1) - 1;
        int exponent = bits >> fractionBits;
        int fraction = bits & (1 << fractionBits) - 1;
        return exponent == 0
                ? Math.scalb((double) fraction, 1 - bias - fractionBits)
                : Math.scalb((double) (fraction + (1 << fractionBits)), exponent - bias - fractionBits);
    }

    @Test
    void floatsToIntegersAreCutAndStayWithinIntegersOf32And64Bits() {
        double[] values = {
            2.9,
            -2.9,
            255,
            256,
            300,
            -1,
            -0.5,
            3e9,
            -3e9,
            1e19,
            -1e19,
            Double.NaN,
            Double.POSITIVE_INFINITY,
            Double.NEGATIVE_INFINITY
        };
        try (Scope scope = Scope.open()) {
            for (DType from : new DType[] {DType.FLOAT64, DType.FLOAT32}) {
                Tensor x = Tensor.of(values).to(from);
                for (DType to : new DType[] {DType.INT64, DType.INT32, DType.UINT8}) {
                    long[] expected = new long[values.length];
                    for (int i = 0; i < values.length; i++) {
                        long wide = (long) (from == DType.FLOAT32 ? (float) values[i] : values[i]);
                        expected[i] = switch (to) {
                            case INT32 -> Math.max(Integer.MIN_VALUE, Math.min(Integer.MAX_VALUE, wide));
                            case UINT8 ->
                                Math.max(Integer.MIN_VALUE, Math.min(Integer.MAX_VALUE, wide))
                                        & 0xff; // as PyTorch on x86-64
                            default -> wide;
                        };
                    }
                    assertThat(x.to(to).to(DType.INT64).toLongArray())
                            .as(from + " to " + to)
                            .isEqualTo(expected);
                }
                assertThat(x.to(DType.BOOL).toIntArray())
                        .as("anything but 0 is true, NaN as well")
                        .containsOnly(1);
            }
        }
    }

    @Test
    void integersToNarrowerOnesKeepTheirLowBits() {
        Random random = new Random(1);
        long[] values = random.longs(1000).toArray();
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.of(values);
            int[] ints = x.to(DType.INT32).toIntArray();
            int[] bytes = x.to(DType.UINT8).toIntArray();
            for (int i = 0; i < values.length; i++) {
                assertThat(ints[i]).isEqualTo((int) values[i]);
                assertThat(bytes[i]).isEqualTo((int) (values[i] & 0xff));
            }
        }
    }
}
