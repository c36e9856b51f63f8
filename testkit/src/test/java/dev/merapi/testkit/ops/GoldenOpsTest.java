// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Kinds;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Results, gradients and second derivatives are PyTorch's, in float64: {@code golden/ops.txt}, which {@code ops.py} wrote. */
final class GoldenOpsTest {
    private static final double RELATIVE = 1e-9;

    /** What the file says of a call. */
    private record Case(
            String name, List<Tensor> operands, List<Tensor> results, List<double[]> first, List<double[]> second) {}

    private static final Map<String, Function<List<Tensor>, List<Tensor>>> CALLS = GoldenOps.all();

    @TestFactory
    Stream<DynamicTest> resultsAndDerivativesArePyTorchs() throws IOException {
        return read().stream().map(c -> dynamicTest(c.name, () -> compare(c)));
    }

    @Test
    void everyCaseIsCalled() throws IOException {
        assertThat(read().stream().map(Case::name).toList())
                .doesNotHaveDuplicates()
                .containsExactlyInAnyOrderElementsOf(new TreeSet<>(CALLS.keySet()));
    }

    private static void compare(Case c) {
        try (Scope scope = Scope.open()) {
            List<Tensor> operands = new ArrayList<>();
            c.operands.forEach(t -> operands.add(t.detach().requiresGrad(true)));
            List<Tensor> results =
                    Objects.requireNonNull(CALLS.get(c.name), c.name).apply(operands);
            assertThat(results).as("results").hasSameSizeAs(c.results);
            List<Tensor> roots = new ArrayList<>();
            for (int i = 0; i < results.size(); i++) {
                Tensor expected = c.results.get(i);
                assertThat(results.get(i).shape()).as("shape of result " + i).isEqualTo(expected.shape());
                near("result " + i, results.get(i).toDoubleArray(), expected.toDoubleArray());
                if (results.get(i).requiresGrad()) {
                    roots.add(results.get(i));
                }
            }
            List<Tensor> first = derivatives("gradient", roots, 0.3, operands, c.first);
            derivatives(
                    "second derivative",
                    first.stream().filter(Tensor::requiresGrad).toList(),
                    0.7,
                    operands,
                    c.second);
        }
    }

    private static List<Tensor> derivatives(
            String what, List<Tensor> roots, double rate, List<Tensor> operands, List<double[]> expected) {
        if (expected.isEmpty()) {
            return List.of();
        }
        if (roots.isEmpty()) {
            expected.forEach(e -> near(what + ", which is 0", new double[e.length], e));
            return List.of();
        }
        List<Tensor> weights = new ArrayList<>();
        for (Tensor root : roots) {
            double[] w = new double[Math.toIntExact(root.numel())];
            Arrays.setAll(w, i -> Math.cos(rate * i));
            weights.add(Tensor.of(w, root.shape().toArray()));
        }
        List<Tensor> found = Autograd.grad(roots, operands, weights, Autograd.Graph.CREATE, true);
        List<Tensor> there = new ArrayList<>();
        for (int k = 0; k < expected.size(); k++) {
            Tensor g = found.get(k);
            near(
                    what + " by operand " + k,
                    g == null ? new double[expected.get(k).length] : g.toDoubleArray(),
                    expected.get(k));
            if (g != null) {
                there.add(g);
            }
        }
        return there;
    }

    private static void near(String what, double[] actual, double[] expected) {
        assertThat(actual).as(what).hasSameSizeAs(expected);
        double largest = Arrays.stream(expected)
                .map(Math::abs)
                .filter(Double::isFinite)
                .max()
                .orElse(0);
        for (int i = 0; i < actual.length; i++) {
            boolean same = Double.compare(actual[i], expected[i]) == 0
                    || Math.abs(actual[i] - expected[i]) <= RELATIVE * Math.max(1, largest);
            assertThat(same)
                    .as("%s, element %d: %s instead of %s", what, i, actual[i], expected[i])
                    .isTrue();
        }
    }

    // ---------------------------------------------------------------- the file

    private static List<Case> read() throws IOException {
        List<Case> cases = new ArrayList<>();
        try (InputStream in = Objects.requireNonNull(Kinds.class.getResourceAsStream("golden/ops.txt"))) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList()) {
                String[] words = line.split(" ");
                switch (words[0]) {
                    case "case" ->
                        cases.add(new Case(
                                line.substring(5),
                                new ArrayList<>(),
                                new ArrayList<>(),
                                new ArrayList<>(),
                                new ArrayList<>()));
                    case "in" -> {
                        List<Tensor> operands = last(cases).operands;
                        operands.add(operand(operands.size(), words));
                    }
                    case "out" -> last(cases).results.add(Tensor.of(numbers(words), sizes(words[1])));
                    case "grad" -> last(cases).first.add(numbers(words));
                    case "grad2" -> last(cases).second.add(numbers(words));
                    default -> assertThat(words[0]).isEqualTo("#");
                }
            }
        }
        return cases;
    }

    private static Case last(List<Case> cases) {
        return cases.get(cases.size() - 1);
    }

    private static Tensor operand(int k, String[] words) {
        long[] shape = sizes(words[1]);
        double scale = Double.parseDouble(words[2]);
        double offset = Double.parseDouble(words[3]);
        double[] values = new double[Math.toIntExact(Shape.of(shape).numel())];
        Arrays.setAll(values, i -> offset + scale * Math.sin(1.7 * (i + 1) + 0.9 * k));
        return Tensor.of(values, shape);
    }

    private static long[] sizes(String word) {
        return word.equals("-")
                ? new long[0]
                : Arrays.stream(word.split(",")).mapToLong(Long::parseLong).toArray();
    }

    private static double[] numbers(String[] words) {
        return Arrays.stream(words)
                .skip(Arrays.asList(words).indexOf("=") + 1)
                .mapToDouble(w -> w.endsWith("inf")
                        ? Double.parseDouble(w.replace("inf", "Infinity"))
                        : Double.parseDouble(w.replace("nan", "NaN")))
                .toArray();
    }
}
