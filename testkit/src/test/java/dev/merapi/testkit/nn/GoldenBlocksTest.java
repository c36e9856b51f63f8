// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.merapi.autograd.Autograd;
import dev.merapi.nn.Block;
import dev.merapi.nn.Parameter;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Blocks load PyTorch's state by its names, and give its results, gradients and buffers, in float64. */
class GoldenBlocksTest {
    private static final double RELATIVE = 1e-10;
    /** Whose gradient PyTorch multiplies by a float32 sixth. */
    private static final String ROUNDED = "Hardsigmoid";

    private static final GoldenBlocks GOLDEN = GoldenBlocks.read();

    @Test
    void everyBlockIsCompared() {
        assertThat(new TreeSet<>(
                        GOLDEN.names().stream().map(GoldenBlocks::module).toList()))
                .isEqualTo(new TreeSet<>(BlockTable.all().keySet()));
    }

    @TestFactory
    Stream<DynamicTest> resultsGradientsAndBuffersArePyTorchs() {
        return GOLDEN.names().stream().map(name -> dynamicTest(name, () -> compare(name)));
    }

    private static void compare(String name) {
        try (Scope scope = Scope.open()) {
            Block block = GOLDEN.make(name);
            List<Tensor> in = GOLDEN.inputs(name);
            Tensor out = GOLDEN.call(name, block, in);
            near("output", RELATIVE, out, GOLDEN.part(name, "out").get("0"));
            Map<String, Tensor> grads = GOLDEN.part(name, "grad");
            if (!grads.isEmpty()) {
                Autograd.backward(GoldenBlocks.loss(out));
            }
            Map<String, Parameter> parameters = block.namedParameters();
            assertThat(grads.keySet()).as("parameters").containsAll(parameters.keySet());
            grads.forEach((n, expected) -> {
                Parameter p = parameters.get(n);
                near(
                        "gradient of " + n,
                        name.equals(ROUNDED) ? 1e-7 : RELATIVE,
                        (p == null ? in.get(Integer.parseInt(n)) : p.tensor()).grad(),
                        expected);
            });
            Map<String, Tensor> after = GOLDEN.part(name, "after");
            assertThat(block.namedBuffers().keySet()).as("buffers").isEqualTo(after.keySet());
            block.namedBuffers().forEach((n, b) -> near(n, RELATIVE, b.tensor(), after.get(n)));
        }
    }

    private static void near(String what, double relative, @Nullable Tensor actual, @Nullable Tensor expected) {
        assertThat(actual).as(what).isNotNull();
        assertThat(actual.shape())
                .as(what)
                .isEqualTo(Objects.requireNonNull(expected).shape());
        double[] a = actual.toDoubleArray();
        double[] e = expected.toDoubleArray();
        for (int i = 0; i < e.length; i++) {
            if (!(Math.abs(a[i] - e[i]) <= relative * Math.max(1, Math.abs(e[i])))) {
                throw new AssertionError(what + "[" + i + "]: expected " + e[i] + ", got " + a[i]);
            }
        }
    }
}
