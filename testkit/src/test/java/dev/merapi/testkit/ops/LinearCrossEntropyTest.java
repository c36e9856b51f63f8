// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** As cross entropy after a linear map, but for the memory. */
class LinearCrossEntropyTest {
    private static final long IGNORED = -100;
    private static final int IN = 3;
    private static final int CLASSES = 5;

    // ---------------------------------------------------------------- against PyTorch

    private static Tensor numbers(int step, int of, long... shape) {
        double[] values = new double[(int) Shape.of(shape).numel()];
        Arrays.setAll(values, i -> ((i * step) % of - of / 2) / 4.0);
        return Tensor.of(values, shape).requiresGrad(true);
    }

    private static Tensor targets(int rows, String which) {
        long[] values = new long[rows];
        Arrays.setAll(
                values, r -> which.equals("none") || which.equals("some") && r % 3 == 1 ? IGNORED : r * 2 % CLASSES);
        return Tensor.of(values);
    }

    private static List<String> lines() throws IOException {
        try (InputStream in =
                LinearCrossEntropyTest.class.getResourceAsStream("/dev/merapi/testkit/ops/linear_cross_entropy.txt")) {
            return new String(Objects.requireNonNull(in).readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList();
        }
    }

    private static void add(List<Double> to, @Nullable Tensor t) {
        if (t != null) {
            for (double v : t.detach().toDoubleArray()) {
                to.add(v);
            }
        }
    }

    @Test
    void valuesAndGradientsArePyTorchs() throws IOException {
        for (String line : lines()) {
            String[] words = line.split(" ");
            int rows = Integer.parseInt(words[0]);
            Reduction reduction = Reduction.valueOf(words[3].toUpperCase(java.util.Locale.ROOT));
            Tensor x = numbers(5, 9, rows, IN);
            Tensor w = numbers(7, 11, CLASSES, IN);
            Tensor b = words[1].equals("bias") ? numbers(3, 5, CLASSES) : null;
            Tensor loss = Losses.linearCrossEntropy(
                    x, w, b, targets(rows, words[4]), IGNORED, Double.parseDouble(words[2]), reduction);
            Autograd.backward(loss.reshape(-1)
                    .mul(Tensor.arange(1, loss.numel() + 1, 1).to(DType.FLOAT64))
                    .sum());
            List<Double> actual = new ArrayList<>();
            if (rows <= 4 || reduction != Reduction.NONE) {
                add(actual, loss);
            }
            Tensor dx = Objects.requireNonNull(x.grad());
            add(actual, rows <= 4 ? dx : dx.square().sum());
            add(actual, w.grad());
            add(actual, b == null ? null : b.grad());
            double[] expected = Arrays.stream(words, 5, words.length)
                    .mapToDouble(v -> v.equals("nan") ? Double.NaN : Double.parseDouble(v))
                    .toArray();
            close(Tensor.of(actual.stream().mapToDouble(v -> v).toArray()), expected, 1e-12);
        }
    }

    // ---------------------------------------------------------------- against the composition

    private static Tensor composed(List<Tensor> in, Tensor targets, Reduction reduction) {
        Tensor logits = in.get(0).linear(in.get(1), in.size() > 2 ? in.get(2) : null);
        return Losses.crossEntropy(logits, targets, null, IGNORED, 0.1, reduction);
    }

    private static Tensor fused(List<Tensor> in, Tensor targets, Reduction reduction) {
        return Losses.linearCrossEntropy(
                in.get(0), in.get(1), in.size() > 2 ? in.get(2) : null, targets, IGNORED, 0.1, reduction);
    }

    @ParameterizedTest
    @EnumSource(Reduction.class)
    void derivativesOfBothOrdersAreRight(Reduction reduction) {
        Tensor t = Tensor.of(new long[] {2, IGNORED, 0, 3});
        gradients(in -> fused(in, t, reduction), leaf(1, 4, 2), leaf(2, 5, 2), leaf(3, 5));
    }

    /** 300 rows are three chunks. */
    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "FLOAT16", "BFLOAT16"})
    void roundsAsTheCompositionDoes(DType dtype) {
        Tensor t = Tensor.randint(0, 33, 300);
        t.slice(0, 7, 50).fill_(IGNORED);
        for (Reduction reduction : Reduction.values()) {
            List<List<Tensor>> all = new ArrayList<>();
            for (int k = 0; k < 2; k++) {
                List<Tensor> in = new ArrayList<>();
                for (Tensor v : List.of(Samples.normal(1, 300, 16), Samples.normal(2, 33, 16), Samples.normal(3, 33))) {
                    in.add(v.to(dtype).requiresGrad(true));
                }
                Tensor loss = k == 0 ? fused(in, t, reduction) : composed(in, t, reduction);
                assertThat(loss.dtype()).isEqualTo(DType.FLOAT32);
                Autograd.backward(loss.sum());
                all.add(List.of(
                        loss.detach(),
                        Objects.requireNonNull(in.get(0).grad()),
                        Objects.requireNonNull(in.get(1).grad()),
                        Objects.requireNonNull(in.get(2).grad())));
            }
            double eps = dtype == DType.FLOAT32 ? 1e-5 : dtype == DType.FLOAT16 ? 4e-3 : 3e-2;
            for (int i = 0; i < 4; i++) {
                double[] expected = all.get(1).get(i).to(DType.FLOAT64).toDoubleArray();
                double largest = Arrays.stream(expected).map(Math::abs).max().orElse(0);
                double[] actual = all.get(0).get(i).to(DType.FLOAT64).toDoubleArray();
                for (int k = 0; k < actual.length; k++) {
                    assertThat(Math.abs(actual[k] - expected[k]))
                            .as("%s %s, tensor %d, element %d", dtype, reduction, i, k)
                            .isLessThanOrEqualTo((i == 0 ? 1e-5 : eps) * largest);
                }
            }
        }
    }

    @Test
    void autocastMultipliesIn16Bits() {
        Tensor x = Tensor.rand(6, 4).requiresGrad(true);
        Tensor w = Tensor.rand(7, 4).requiresGrad(true);
        Tensor t = Tensor.randint(0, 7, 6);
        Tensor loss;
        Tensor same;
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            loss = Losses.linearCrossEntropy(x, w, null, t);
            same = Losses.crossEntropy(x.linear(w, null), t);
        }
        assertThat(loss.dtype()).isEqualTo(DType.FLOAT32);
        close(loss, same, 1e-6);
        Autograd.backward(loss);
        assertThat(x.grad().dtype()).isEqualTo(DType.FLOAT32);
        assertThat(w.grad().dtype()).isEqualTo(DType.FLOAT32);
    }

    @Test
    void anyNumberOfDimensions() {
        Tensor x = leaf(4, 2, 3, 4);
        Tensor w = leaf(5, 6, 4);
        Tensor t = Tensor.of(new long[] {0, 1, 2, 3, 4, 5}, 2, 3);
        Tensor each = Losses.linearCrossEntropy(x, w, null, t, IGNORED, 0, Reduction.NONE);
        assertThat(each.shape().toArray()).containsExactly(2, 3);
        close(
                each.reshape(-1),
                Losses.crossEntropy(x.reshape(6, 4).linear(w, null), t.reshape(-1), null, IGNORED, 0, Reduction.NONE),
                1e-14);
        Autograd.backward(each.sum());
        assertThat(x.grad().shape()).isEqualTo(x.shape());
    }

    @Test
    void onlyWhatIsWantedIsComputed() {
        for (int wanted = 0; wanted < 3; wanted++) {
            Tensor[] in = {Samples.normal(1, 4, 2), Samples.normal(2, 5, 2), Samples.normal(3, 5)};
            in[wanted].requiresGrad(true);
            Tensor t = Tensor.of(new long[] {2, 1, 0, 3});
            Tensor loss = fused(List.of(in), t, Reduction.MEAN);
            Autograd.backward(loss, null, Graph.RETAIN);
            double[] once = Objects.requireNonNull(in[wanted].grad()).toDoubleArray();
            in[wanted].setGrad(null);
            Autograd.backward(loss); // what was kept is as it was, though this one writes over it
            assertThat(in[wanted].grad().toDoubleArray()).containsExactly(once);
            in[wanted].setGrad(null);
            Autograd.backward(composed(List.of(in), t, Reduction.MEAN));
            close(in[wanted].grad(), once, 1e-13);
        }
    }

    @Test
    void deterministicModeTakesIt() {
        boolean before = Merapi.isDeterministic();
        Merapi.deterministic(true);
        try {
            Tensor w = leaf(2, 5, 2);
            Autograd.backward(fused(List.of(leaf(1, 4, 2), w), Tensor.of(new long[] {2, 1, 0, 3}), Reduction.MEAN));
            assertThat(w.grad()).isNotNull();
        } finally {
            Merapi.deterministic(before);
        }
    }

    // ---------------------------------------------------------------- what is refused

    @Test
    void mistakesAreToldByRow() {
        Tensor x = leaf(1, 300, 2);
        Tensor w = leaf(2, 5, 2);
        Tensor t = Tensor.zeros(DType.INT64, 300);
        t.slice(0, 299, 300).fill_(5);
        assertThatThrownBy(() -> Losses.linearCrossEntropy(x, w, null, t))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("target 5 at row 299 is not a class from 0 to 4");
        assertThatThrownBy(() -> Losses.linearCrossEntropy(x, w, null, t.slice(0, 0, 7)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("x must be [.., in] and targets [..]");
        assertThatThrownBy(() -> Losses.linearCrossEntropy(x, w, null, t.to(DType.FLOAT64)))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("int64");
        assertThatThrownBy(() -> Losses.linearCrossEntropy(x, leaf(2, 5, 3), null, t))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("do not fit");
        assertThatThrownBy(() -> Losses.linearCrossEntropy(x, w.detach().to(DType.FLOAT32), null, t))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("dtypes differ");
    }

    // ---------------------------------------------------------------- memory

    @Test
    void neverHoldsAllLogits() {
        DeviceType type = DeviceType.register("linear_cross_entropy");
        Backends.register(new JavaBackend(type));
        Device device = Device.of(type, 0);
        int rows = 1024;
        int classes = 512;
        Tensor x = Tensor.rand(Shape.of(rows, 4), -1, 1, DType.FLOAT32, device).requiresGrad(true);
        Tensor w =
                Tensor.rand(Shape.of(classes, 4), -1, 1, DType.FLOAT32, device).requiresGrad(true);
        Tensor t = Tensor.randint(0, classes, rows).to(device);
        long[] peaks = new long[2];
        for (int k = 0; k < 2; k++) {
            x.setGrad(null);
            w.setGrad(null);
            Memory.resetPeak(device);
            long before = Memory.stats(device).allocated();
            try (Scope scope = Scope.open()) {
                Autograd.backward(
                        k == 0 ? fused(List.of(x, w), t, Reduction.MEAN) : composed(List.of(x, w), t, Reduction.MEAN));
            }
            peaks[k] = Memory.stats(device).peakAllocated() - before;
        }
        long logits = 4L * rows * classes;
        assertThat(peaks[1]).isGreaterThan(2 * logits);
        assertThat(peaks[0]).as("an eighth of the logits at a time").isLessThan(logits / 4);
    }
}
