// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Attention.Options;
import dev.merapi.random.Generator;
import dev.merapi.random.Philox;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Masks, dropout, grouped heads, and queries and keys of different numbers. */
class AttentionOptionsTest {
    private static final Options NONE = Attention.options();
    private static final double INF = Double.POSITIVE_INFINITY;

    /** As {@code t} of attention.py. */
    private static Tensor numbers(long step, long of, long... shape) {
        long count = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
        double[] values = new double[(int) count];
        for (int i = 0; i < count; i++) {
            values[i] = ((i * step) % of - of / 2) / 8.0;
        }
        return Tensor.of(values, shape);
    }

    private static Tensor seen(long... shape) {
        return numbers(5, 7, shape).gt(-0.2);
    }

    private static void asPyTorch(
            String name, long heads, long shared, long queries, long keys, @Nullable Tensor mask, Options options)
            throws IOException {
        Tensor q = numbers(5, 17, 2, heads, queries, 3).requiresGrad(true);
        Tensor k = numbers(7, 13, 2, shared, keys, 3).requiresGrad(true);
        Tensor v = numbers(3, 11, 2, shared, keys, 3).requiresGrad(true);
        List<Tensor> inputs = new ArrayList<>(List.of(q, k, v));
        if (mask != null && mask.dtype().isFloating()) {
            inputs.add(mask.requiresGrad(true));
        }
        Tensor y = q.scaledDotProductAttention(k, v, options.mask(mask));
        Autograd.backward(y, numbers(11, 19, 2, heads, queries, 3), Autograd.Graph.FREE);
        List<Tensor> all = new ArrayList<>(List.of(y));
        inputs.forEach(x -> all.add(Objects.requireNonNull(x.grad())));
        double[] found = all.stream()
                .flatMapToDouble(t -> Arrays.stream(t.toDoubleArray()))
                .toArray();
        try (InputStream in = AttentionOptionsTest.class.getResourceAsStream("attention.txt")) {
            double[] expected = new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(l -> l.startsWith(name + " "))
                    .flatMap(l -> Arrays.stream(l.split(" ")).skip(1))
                    .mapToDouble(Double::parseDouble)
                    .toArray();
            close(Tensor.of(found, found.length), expected, 1e-12);
        }
    }

    @Test
    void isWhatPyTorchMakesOfIt() throws IOException {
        Tensor rows = seen(4, 5).mul(Tensor.of(new double[] {1, 1, 0, 1}, 4, 1)).ne(0);
        double[] added = numbers(3, 13, 1, 2, 4, 5).toDoubleArray();
        added[8] = -INF;
        Arrays.fill(added, 30, 35, -INF);
        asPyTorch("causal_more_keys", 2, 2, 3, 5, null, NONE.causal());
        asPyTorch("causal_more_queries", 2, 2, 5, 3, null, NONE.causal());
        asPyTorch("scale", 2, 2, 3, 4, null, NONE.scale(0.25));
        asPyTorch("mask_of_pairs", 2, 2, 4, 5, rows, NONE);
        asPyTorch("mask_of_keys", 2, 2, 4, 5, seen(2, 1, 1, 5), NONE);
        asPyTorch("mask_added", 2, 2, 4, 5, Tensor.of(added, 1, 2, 4, 5), NONE);
        asPyTorch("mask_added_to_keys", 2, 2, 4, 5, numbers(5, 11, 1, 5), NONE);
        asPyTorch("grouped", 6, 2, 3, 4, null, NONE);
        asPyTorch("grouped_causal", 4, 2, 4, 4, null, NONE.causal());
        asPyTorch("grouped_mask_added", 4, 1, 4, 5, numbers(5, 11, 2, 1, 4, 5), NONE);
    }

    private static Tensor apply(List<Tensor> in, Options options) {
        Generator.global().seed(7);
        return Attention.attention(in.get(0), in.get(1), in.get(2), options);
    }

    @Test
    void gradientsOfBothOrders() {
        Tensor q = leaf(1, 1, 4, 3, 2);
        Tensor k = leaf(2, 1, 2, 5, 2);
        Tensor v = leaf(3, 1, 2, 5, 2);
        gradients(in -> apply(in, NONE.causal()), q, k, v);
        gradients(in -> apply(in, NONE.mask(seen(1, 1, 3, 5)).dropout(0.4)), q, k, v);
        gradients(in -> apply(in, NONE.mask(in.get(3)).causalFromEnd().dropout(0.3)), q, k, v, leaf(4, 1, 4, 1, 5));
    }

    // ---------------------------------------------------------------- against other ops

    /** One problem, in the words of {@link Attention.Args}. */
    private record Problem(@Nullable Tensor mask, @Nullable Long shift, double dropout) {
        Options options(DType dtype) {
            Options o = NONE.dropout(dropout);
            o = shift == null ? o : shift == 0 ? o.causal() : o.causalFromEnd();
            return o.mask(mask == null || mask.dtype() == DType.BOOL ? mask : mask.to(dtype));
        }

        /** softmax(…)·v with the matrix of weights, in float64. */
        Tensor formula(List<Tensor> in) {
            Tensor q = in.get(0);
            Tensor k = shared(q, in.get(1));
            long[] pairs = {q.size(0), q.size(1), q.size(2), k.size(2)};
            Tensor seen = Tensor.ones(pairs).to(DType.FLOAT64);
            Tensor scores = q.matmul(k.transpose(-2, -1)).div(Math.sqrt(q.size(3)));
            if (mask != null && mask.dtype() == DType.BOOL) {
                seen = seen.mul(mask.to(DType.FLOAT64));
            } else if (mask != null) {
                scores = scores.add(mask);
            }
            if (shift != null) {
                double[] visible = new double[(int) (pairs[2] * pairs[3])];
                for (int i = 0; i < visible.length; i++) {
                    visible[i] = i % pairs[3] <= i / pairs[3] + shift ? 1 : 0;
                }
                seen = seen.mul(Tensor.of(visible, pairs[2], pairs[3]));
            }
            Tensor exp = scores.exp().mul(seen);
            Tensor weights = exp.div(exp.sum(new int[] {-1}, true).add(1e-300));
            if (dropout > 0) {
                weights = weights.mul(kept(pairs, dropout));
            }
            return weights.matmul(shared(q, in.get(2)));
        }

        private static Tensor shared(Tensor q, Tensor x) {
            long group = q.size(1) / x.size(1);
            return x.unsqueeze(2)
                    .expand(x.size(0), x.size(1), group, x.size(2), x.size(3))
                    .reshape(x.size(0), q.size(1), x.size(2), x.size(3));
        }
    }

    /** Note [Dropped weights], for seed 7. */
    private static Tensor kept(long[] pairs, double p) {
        double[] factors = new double[(int) (pairs[0] * pairs[1] * pairs[2] * pairs[3])];
        int at = 0;
        for (long b = 0; b < pairs[0]; b++) {
            for (long h = 0; h < pairs[1]; h++) {
                for (long i = 0; i < pairs[2]; i++) {
                    long first = ((i * pairs[0] + b) * pairs[1] + h) * ((pairs[3] + 3) / 4);
                    for (long j = 0; j < pairs[3]; j++) {
                        long lane = Integer.toUnsignedLong(Philox.lane(7, first, j));
                        factors[at++] = lane < Math.round(p * 0x1p32) ? 0 : 1 / (1 - p);
                    }
                }
            }
        }
        return Tensor.of(factors, pairs);
    }

    /** Tiles that are not whole, or in which nothing is seen; heads by one thread each, and by several. */
    @Test
    void tilesMeetTheFormula() {
        Tensor keys = seen(2, 1, 1, 150);
        double[] some = seen(1, 4, 70, 150).to(DType.FLOAT64).toDoubleArray();
        Arrays.fill(some, 3 * 150, 4 * 150, 0);
        Tensor pairs = Tensor.of(some, 1, 4, 70, 150).ne(0);
        Tensor added = normal(9, 1, 4, 70, 1).expand(1, 4, 70, 150);
        List<Problem> problems = List.of(
                new Problem(keys, null, 0),
                new Problem(pairs, 80L, 0),
                new Problem(added, 0L, 0),
                new Problem(null, null, 0.25),
                new Problem(null, 0L, 1),
                new Problem(keys.expand(2, 4, 70, 150), 80L, 0.5));
        for (Problem problem : problems) {
            check(problem, 2, 4, problem.dropout == 0 ? 2 : 4);
        }
        check(new Problem(null, 0L, 0.5), 4, 4, 4);
    }

    private static void check(Problem problem, long batch, long heads, long shared) {
        List<Tensor> wide = new ArrayList<>();
        List<Tensor> narrow = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Tensor x = normal(i, batch, i == 0 ? heads : shared, i == 0 ? 70 : 150, 16)
                    .to(DType.FLOAT32);
            wide.add(x.to(DType.FLOAT64).requiresGrad(true));
            narrow.add(x.requiresGrad(true));
        }
        Tensor grad = normal(8, batch, heads, 70, 16);
        Tensor expected = problem.formula(wide);
        Tensor actual = apply(narrow, problem.options(DType.FLOAT32));
        close(actual, expected, 1e-5);
        Autograd.backward(expected, grad, Autograd.Graph.FREE);
        Autograd.backward(actual, grad.to(DType.FLOAT32), Autograd.Graph.FREE);
        for (int i = 0; i < 3; i++) {
            close(
                    Objects.requireNonNull(narrow.get(i).grad()),
                    Objects.requireNonNull(wide.get(i).grad()),
                    3e-5);
        }
    }

    /** Keys that a mask hides from all, or from some, hold what is no number. */
    @Test
    void whatIsHiddenHasNoPart() {
        double[] odd = {Double.NaN, INF, -INF};
        for (boolean added : new boolean[] {false, true}) {
            Tensor mask = Tensor.ones(70, 100).to(DType.BOOL);
            mask.slice(1, 40, 41).fill_(0);
            mask.slice(0, 0, 50).slice(1, 80, 100).fill_(0);
            mask.slice(0, 50, 70).slice(1, 0, 80).fill_(0);
            Options options = NONE.mask(added ? Tensor.zeros(70, 100).maskedFill(mask.logicalNot(), -INF) : mask);
            List<List<Tensor>> both = new ArrayList<>();
            for (boolean isOdd : new boolean[] {false, true}) {
                List<Tensor> in = new ArrayList<>();
                for (int i = 0; i < 3; i++) {
                    double[] values = normal(i, 1, 2, i == 0 ? 70 : 100, 8).toDoubleArray();
                    for (int h = 0; isOdd && i > 0 && h < 2; h++) {
                        System.arraycopy(odd, 0, values, (h * 100 + 40) * 8, 3);
                        System.arraycopy(odd, 0, values, (h * 100 + 80) * 8, 3);
                    }
                    Tensor x = Tensor.of(values, 1, 2, i == 0 ? 70 : 100, 8).to(DType.FLOAT32);
                    in.add(x.detach().requiresGrad(true));
                }
                Tensor y = apply(in, options);
                Autograd.backward(y.slice(2, 0, 50), Tensor.ones(1, 2, 50, 8), Autograd.Graph.FREE);
                both.add(List.of(
                        y.slice(2, 0, 50),
                        Objects.requireNonNull(in.get(0).grad()).slice(2, 0, 50),
                        Objects.requireNonNull(in.get(1).grad()).slice(2, 0, 80),
                        Objects.requireNonNull(in.get(2).grad()).slice(2, 0, 80)));
            }
            for (int i = 0; i < 4; i++) {
                close(both.get(1).get(i), both.get(0).get(i), 1e-5);
            }
        }
    }

    @Test
    void emptyAndSingle() {
        for (long[] n :
                new long[][] {{0, 4, 3, 5, 2}, {1, 4, 0, 5, 2}, {1, 4, 3, 0, 2}, {1, 4, 3, 5, 0}, {1, 2, 1, 1, 1}}) {
            Tensor q = leaf(1, n[0], n[1], n[2], n[4]);
            Tensor k = leaf(2, n[0], n[1] / 2, n[3], n[4]);
            Tensor v = leaf(3, n[0], n[1] / 2, n[3], n[4]);
            Tensor mask = leaf(4, 1, 1, n[2], n[3]);
            Tensor y = apply(List.of(q, k, v), NONE.mask(mask).causal().dropout(0.5));
            assertThat(y.shape()).isEqualTo(q.shape());
            Autograd.backward(y, y.detach().zerosLike(), Autograd.Graph.FREE);
            for (Tensor t : List.of(q, k, v, mask)) {
                double[] zeros = new double[(int) t.numel()];
                close(Objects.requireNonNull(t.grad()), zeros, 0);
            }
        }
    }

    @Test
    void dropoutDrawsAnew() {
        Tensor q = normal(1, 2, 3, 40, 8);
        Generator.global().seed(7);
        Tensor first = Attention.attention(q, q, q, NONE.dropout(0.5));
        Tensor second = Attention.attention(q, q, q, NONE.dropout(0.5));
        assertThat(second.sub(first).abs().sum().item()).isGreaterThan(1);
        close(apply(List.of(q, q, q), NONE.dropout(0.5)), first, 0);
        long before = Generator.global().offset();
        assertThatThrownBy(() -> Attention.attention(q, q, normal(1, 2, 3, 40, 4), NONE.dropout(0.5)))
                .isInstanceOf(ShapeException.class);
        assertThat(Generator.global().offset()).isEqualTo(before);
        assertThat(Attention.attention(q, q, q, NONE.dropout(0.0))).isNotNull();
        assertThat(Generator.global().offset()).isEqualTo(before);
    }

    @Test
    void misfitsAreNamed() {
        Tensor q = normal(1, 1, 4, 3, 2);
        Tensor k = normal(1, 1, 3, 3, 2);
        assertThatThrownBy(() -> Attention.attention(q, k, k, NONE))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("Hk divides H")
                .hasMessageContaining("k: float64[1, 3, 3, 2]");
        assertThatThrownBy(() -> Attention.attention(q, q, q, NONE.mask(seen(1, 4))))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("does not broadcast")
                .hasMessageContaining("mask.view(B, 1, 1, Tk)");
        assertThatThrownBy(
                        () -> Attention.attention(q, q, q, NONE.mask(seen(3, 3).to(DType.FLOAT32))))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("mask.to(float64)");
        assertThatThrownBy(() -> NONE.dropout(1.5))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("dropout is 1.5");
        assertThatThrownBy(() -> NONE.scale(Double.NaN)).isInstanceOf(SchemaException.class);
    }
}
