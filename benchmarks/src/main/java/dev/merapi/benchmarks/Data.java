// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.function.LongToDoubleFunction;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Operands that are the same for every engine, and the check that comes before the clock. */
final class Data {
    private Data() {}

    /** Values in [−1, 1), the same for a seed on every run and in every engine. */
    static float[] values(long seed, int count) {
        RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.nextFloat() * 2 - 1;
        }
        return values;
    }

    /** {@link #values} in a tensor that lives as long as the trial. */
    static Tensor tensor(long seed, long... sizes) {
        Shape shape = Shape.of(sizes);
        Tensor t = Tensor.empty(shape, DType.FLOAT32, Device.CPU).leaveScope();
        float[] values = values(seed, (int) shape.numel());
        Elements elements = Elements.of(t);
        for (int i = 0; i < values.length; i++) {
            elements.setDouble(i, values[i]);
        }
        return t;
    }

    /** Wrong results are not timed: the trial fails if an element is off by more than {@code tolerance}. */
    static void requireClose(String what, Tensor actual, LongToDoubleFunction expected, double tolerance) {
        Elements elements = Elements.of(actual);
        requireClose(what, actual.numel(), elements::getDouble, expected, tolerance);
    }

    static void requireClose(
            String what, long count, LongToDoubleFunction actual, LongToDoubleFunction expected, double tolerance) {
        for (long i = 0; i < count; i++) {
            double a = actual.applyAsDouble(i);
            double e = expected.applyAsDouble(i);
            if (!(Math.abs(a - e) <= tolerance * Math.max(1, Math.abs(e)))) {
                throw new AssertionError(what + ": element " + i + " is " + a + ", expected " + e);
            }
        }
    }
}
