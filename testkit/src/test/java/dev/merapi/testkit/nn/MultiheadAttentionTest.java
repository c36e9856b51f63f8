// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.GradientException;
import dev.merapi.error.ShapeException;
import dev.merapi.nn.KeyValueCache;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Map;
import org.assertj.core.data.Offset;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class MultiheadAttentionTest {
    private static final long WIDTH = 12;
    private static final long HEADS = 6;

    private static Tensor numbers(long... shape) {
        return Tensor.randn(shape).to(DType.FLOAT64);
    }

    private static MultiheadAttention layer(long shared, boolean causal, double dropout) {
        MultiheadAttention layer = new MultiheadAttention(WIDTH, HEADS, shared, causal, dropout);
        layer.to(DType.FLOAT64);
        return layer;
    }

    private static void close(Tensor actual, Tensor expected) {
        assertThat(actual.shape()).isEqualTo(expected.shape());
        assertThat(actual.toDoubleArray()).containsExactly(expected.toDoubleArray(), Offset.offset(1e-12));
    }

    /** Head by head, with the matrix of weights. */
    private static Tensor formula(
            MultiheadAttention layer, long shared, Tensor x, Tensor other, @Nullable Tensor added) {
        Map<String, Tensor> p = layer.stateDict().all(Tensor.class);
        long d = WIDTH / HEADS;
        Tensor weight = p.get("in_proj_weight");
        Tensor bias = p.get("in_proj_bias");
        Tensor q = x.linear(weight.slice(0, 0, WIDTH), bias.slice(0, 0, WIDTH));
        Tensor kv = other.linear(weight.slice(0, WIDTH, weight.size(0)), bias.slice(0, WIDTH, weight.size(0)));
        Tensor[] heads = new Tensor[(int) HEADS];
        for (int h = 0; h < HEADS; h++) {
            long at = h / (HEADS / shared) * d;
            Tensor k = kv.slice(2, at, at + d);
            Tensor v = kv.slice(2, at + shared * d, at + shared * d + d);
            Tensor scores =
                    q.slice(2, h * d, (h + 1) * d).matmul(k.transpose(1, 2)).div(Math.sqrt(d));
            heads[h] = (added == null ? scores : scores.add(added)).softmax(-1).matmul(v);
        }
        return Tensor.cat(java.util.List.of(heads), 2).linear(p.get("out_proj.weight"), p.get("out_proj.bias"));
    }

    @Test
    void isItsFormula() {
        Tensor x = numbers(2, 5, WIDTH);
        Tensor other = numbers(2, 7, WIDTH);
        Tensor added = numbers(2, 5, 7);
        for (long shared : new long[] {1, 2, 6}) {
            MultiheadAttention layer = layer(shared, false, 0);
            close(layer.forward(x), formula(layer, shared, x, x, null));
            close(layer.forward(x, numbers(5, 5).mul(0)), formula(layer, shared, x, x, null));
            close(layer.forward(x, other, null), formula(layer, shared, x, other, null));
            close(layer.forward(x, other, added.unsqueeze(1)), formula(layer, shared, x, other, added));
            Autograd.backward(layer.forward(x, other, null).sum());
            layer.namedParameters()
                    .forEach((name, p) -> assertThat(p.tensor().grad()).as(name).isNotNull());
        }
    }

    /** A prompt, then position by position, as all at once. */
    @Test
    void cacheGivesWhatTheWholeSequenceGives() {
        for (long shared : new long[] {2, 6}) {
            MultiheadAttention layer = layer(shared, true, 0.5);
            layer.eval();
            Tensor x = numbers(2, 9, WIDTH);
            Tensor whole = layer.forward(x);
            try (KeyValueCache cache = layer.cache(2, 9)) {
                for (int round = 0; round < 2; round++) {
                    long[] steps = {4, 1, 1, 3};
                    long at = 0;
                    for (long step : steps) {
                        try (Scope scope = Scope.open()) {
                            long from = at;
                            Tensor y = Autograd.noGrad(() -> layer.forward(x.slice(1, from, from + step), cache));
                            close(y, whole.slice(1, at, at + step));
                        }
                        at += step;
                    }
                    assertThat(cache.length()).isEqualTo(9);
                    assertThat(cache.keys().shape()).isEqualTo(Shape.of(2, shared, 9, 2));
                    assertThatThrownBy(() -> Autograd.noGrad(() -> layer.forward(x.slice(1, 0, 1), cache)))
                            .isInstanceOf(ShapeException.class)
                            .hasMessageContaining("room for T ≤ 0");
                    assertThat(cache.length()).isEqualTo(9);
                    cache.truncate(0);
                }
            }
        }
    }

    @Test
    void dropsInTrainingOnly() {
        MultiheadAttention layer = layer(6, false, 0.5);
        Tensor x = numbers(1, 8, WIDTH);
        assertThat(layer.forward(x).toDoubleArray())
                .isNotEqualTo(layer.forward(x).toDoubleArray());
        layer.eval();
        close(layer.forward(x), formula(layer, 6, x, x, null));
    }

    @Test
    void misfitsAreNamed() {
        assertThatThrownBy(() -> new MultiheadAttention(12, 6, 4, true, 0))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("4 heads of keys and values do not divide 6 heads");
        assertThatThrownBy(() -> new MultiheadAttention(12, 6, 6, true, 2)).hasMessageContaining("dropout 2.0");
        MultiheadAttention layer = layer(6, false, 0);
        Tensor x = numbers(1, 3, WIDTH);
        try (KeyValueCache cache = layer.cache(1, 4)) {
            assertThatThrownBy(() -> layer.forward(x, cache)).hasMessageContaining("causal layers only");
            Tensor k = numbers(1, 6, 3, 2).requiresGrad(true);
            assertThatThrownBy(() -> cache.append(k, k))
                    .isInstanceOf(GradientException.class)
                    .hasMessageContaining("noGrad");
            assertThatThrownBy(() -> cache.append(numbers(1, 5, 3, 2), numbers(1, 5, 3, 2)))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("needs k and v [1, 6, T, 2]");
            assertThatThrownBy(() -> cache.truncate(1)).hasMessageContaining("cannot keep 1 of 0");
        }
    }
}
