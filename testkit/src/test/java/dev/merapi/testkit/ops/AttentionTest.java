// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionTest {
    /** The softmax of the visible scores over the values, query by query. */
    private static Tensor expected(Tensor q, Tensor k, Tensor v, boolean causal, long shift, double scale) {
        double[] out = new double[(int) q.numel()];
        int at = 0;
        for (long b = 0; b < q.size(0); b++) {
            for (long h = 0; h < q.size(1); h++) {
                for (long i = 0; i < q.size(2); i++) {
                    long seen = causal ? Math.min(k.size(2), i + 1 + shift) : k.size(2);
                    int width = (int) q.size(3);
                    if (seen > 0) {
                        Tensor scores = k.at(b, h)
                                .slice(0, 0, seen)
                                .matmul(q.at(b, h, i))
                                .mul(scale);
                        Tensor p = scores.exp().div(scores.exp().sum());
                        double[] row = p.matmul(v.at(b, h).slice(0, 0, seen)).toDoubleArray();
                        System.arraycopy(row, 0, out, at, width);
                    }
                    at += width;
                }
            }
        }
        return Tensor.of(out, q.shape().toArray());
    }

    @Test
    void meetsItsDefinition() {
        Tensor q = normal(1, 2, 2, 5, 3);
        Tensor k = normal(2, 2, 2, 5, 3);
        Tensor v = normal(3, 2, 2, 5, 3);
        double scale = 1 / Math.sqrt(3);
        close(Attention.attention(q, k, v, true), expected(q, k, v, true, 0, scale), 1e-13);
        close(Attention.attention(q, k, v, false, 0.3), expected(q, k, v, false, 0, 0.3), 1e-13);
        Tensor few = q.slice(2, 3, 5);
        close(
                Attention.attention(few, k, v, Attention.options().causalFromEnd()),
                Attention.attention(q, k, v, true).slice(2, 3, 5),
                1e-13);
        Tensor start = k.slice(2, 0, 2);
        close(
                Attention.attention(
                        q,
                        start,
                        v.slice(2, 0, 2),
                        Attention.options().causalFromEnd().scale(scale)),
                expected(q, start, v.slice(2, 0, 2), true, -3, scale),
                1e-13);
        close(Attention.attention(few, k, v, true), expected(few, k, v, true, 0, scale), 1e-13);
        close(
                Attention.attention(q, start, v.slice(2, 0, 2), true),
                expected(q, start, v.slice(2, 0, 2), true, 0, scale),
                1e-13);
    }

    @Test
    void takesHeadsAsViews() {
        Tensor x = normal(4, 2, 5, 3, 2, 4);
        Tensor q = x.select(2, 0).transpose(1, 2);
        Tensor k = x.select(2, 1).transpose(1, 2);
        Tensor v = x.select(2, 2).transpose(1, 2);
        close(Attention.attention(q, k, v, true), Attention.attention(q.copy(), k.copy(), v.copy(), true), 0);
        Tensor half = q.to(DType.BFLOAT16);
        assertThat(Attention.attention(half, half, half, true).dtype()).isEqualTo(DType.BFLOAT16);
    }

    @Test
    void gradientsOfBothOrders() {
        Tensor q = leaf(5, 1, 2, 3, 2);
        Tensor k = leaf(6, 1, 2, 3, 2);
        Tensor v = leaf(7, 1, 2, 3, 2);
        gradients(in -> Attention.attention(in.get(0), in.get(1), in.get(2), true), q, k, v);
        gradients(in -> Attention.attention(in.get(0), in.get(1), in.get(2), false, 0.5), q, k, v);
        gradients(in -> Attention.attention(in.get(0), in.get(1), in.get(1).transpose(1, 1), true), q, k);
        // The first query sees no key.
        gradients(
                in -> Attention.attention(
                        in.get(0),
                        in.get(1).slice(2, 0, 2),
                        in.get(2).slice(2, 0, 2),
                        Attention.options().causalFromEnd()),
                q,
                k,
                v);
    }

    @Test
    void jointProjectionsAreTheSameWithoutCopies() {
        Tensor x = normal(10, 2, 5, 3 * 2 * 4);
        List<Tensor> parts = x.view(2, 5, 6, 4).transpose(1, 2).split(2, 1);
        Tensor separate = Attention.attention(parts.get(0), parts.get(1), parts.get(2), true);
        close(SelfAttention.selfAttention(x, 2, true), separate.transpose(1, 2).reshape(2, 5, 8), 1e-14);
        gradients(in -> SelfAttention.selfAttention(in.get(0), 2, true), leaf(11, 1, 3, 12));
        gradients(in -> SelfAttention.selfAttention(in.get(0), 1, false), leaf(12, 2, 3, 6));
    }

    @Test
    void misfitsAreNamed() {
        Tensor q = normal(8, 1, 2, 3, 4);
        assertThatThrownBy(() -> Attention.attention(q, normal(9, 1, 2, 3, 5), normal(9, 1, 2, 3, 5), true))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("needs q [B, H, Tq, D]")
                .hasMessageContaining("k: float64[1, 2, 3, 5]");
    }
}
