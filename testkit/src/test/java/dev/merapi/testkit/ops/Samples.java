// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.check.GradCheck;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.Random;
import java.util.function.Function;

/** Inputs and comparisons that the tests of op families share. */
final class Samples {
    private Samples() {}

    /** Normal numbers in float64, the same for the same seed. */
    static Tensor normal(long seed, long... shape) {
        Random random = new Random(seed);
        long n = 1;
        for (long s : shape) {
            n *= s;
        }
        double[] values = new double[(int) n];
        for (int i = 0; i < n; i++) {
            values[i] = random.nextGaussian();
        }
        return Tensor.of(values, shape);
    }

    /** A leaf that wants a gradient. */
    static Tensor leaf(long seed, long... shape) {
        return normal(seed, shape).requiresGrad(true);
    }

    /** Gradients of first and second order against differences. */
    static void gradients(Function<List<Tensor>, Tensor> f, Tensor... inputs) {
        GradCheck.of(f, List.of(inputs)).run().orThrow();
        GradCheck.second(f, List.of(inputs)).tolerance(1e-6).run().orThrow();
    }

    static void close(Tensor actual, double[] expected, double tolerance) {
        double[] values = actual.detach().to(dev.merapi.types.DType.FLOAT64).toDoubleArray();
        assertThat(values).hasSameSizeAs(expected);
        for (int i = 0; i < values.length; i++) {
            double scale = Math.max(1, Math.abs(expected[i]));
            boolean same = Double.compare(values[i], expected[i]) == 0
                    || Math.abs(values[i] - expected[i]) <= tolerance * scale;
            assertThat(same)
                    .as("element %d: %s, expected %s", i, values[i], expected[i])
                    .isTrue();
        }
    }

    static void close(Tensor actual, Tensor expected, double tolerance) {
        assertThat(actual.shape()).isEqualTo(expected.shape());
        close(actual, expected.detach().to(dev.merapi.types.DType.FLOAT64).toDoubleArray(), tolerance);
    }
}
