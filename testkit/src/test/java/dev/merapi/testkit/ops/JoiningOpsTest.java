// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.check.GradCheck;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Copies that join, surround and rearrange, and the tensors made from nothing. */
class JoiningOpsTest {
    private static final Tensor X = Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3);

    @Test
    void catAndStack() {
        Tensor y = X.mul(10).t().contiguous().t();
        assertThat(Tensor.cat(List.of(X, y), 0).toIntArray()).containsExactly(1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60);
        assertThat(Tensor.cat(List.of(X, y), -1).toIntArray())
                .containsExactly(1, 2, 3, 10, 20, 30, 4, 5, 6, 40, 50, 60);
        Tensor stacked = Tensor.stack(List.of(X, y), 2);
        assertThat(stacked.shape().toString()).isEqualTo("[2, 3, 2]");
        assertThat(stacked.at(1, 2).toIntArray()).containsExactly(6, 60);
        assertThat(Tensor.cat(List.of(Tensor.of(1, 2), Tensor.of(0.5f)), 0).dtype())
                .isEqualTo(DType.FLOAT32);
        assertThat(Tensor.cat(List.of(Tensor.zeros(0, 2), Tensor.ones(1, 2)), 0).toIntArray())
                .containsExactly(1, 1);
        assertThatThrownBy(() -> Tensor.cat(List.of(X, Tensor.zeros(2, 2)), 0))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("[2, 2]");
        assertThatThrownBy(() -> Tensor.cat(List.of(), 0)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.stack(List.of(X, X.t()), 0)).isInstanceOf(ShapeException.class);
    }

    @Test
    void padAddsAndCuts() {
        assertThat(X.pad(9, 1, 0).toIntArray()).containsExactly(9, 1, 2, 3, 9, 4, 5, 6);
        assertThat(X.pad(0, -1, 1, 1, -1).toIntArray()).containsExactly(0, 0, 0, 2, 3, 0);
        assertThat(X.pad(7, -3, 1).toIntArray()).containsExactly(7, 7);
        assertThatThrownBy(() -> X.pad(0, -2, -2))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("-2");
        assertThatThrownBy(() -> X.pad(0, 1)).isInstanceOf(ShapeException.class).hasMessageContaining("pairs");
    }

    @Test
    void repeatTrianglesFlipAndRoll() {
        assertThat(X.repeat(2, 1, 2).shape().toString()).isEqualTo("[2, 2, 6]");
        assertThat(X.repeat(1, 2).toIntArray()).containsExactly(1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6);
        assertThat(X.tril().toIntArray()).containsExactly(1, 0, 0, 4, 5, 0);
        assertThat(X.tril(-1).toIntArray()).containsExactly(0, 0, 0, 4, 0, 0);
        assertThat(X.triu(1).toIntArray()).containsExactly(0, 2, 3, 0, 0, 6);
        assertThat(X.flip(0, 1).toIntArray()).containsExactly(6, 5, 4, 3, 2, 1);
        assertThat(X.roll(-1, 1).toIntArray()).containsExactly(2, 3, 1, 5, 6, 4);
        assertThat(X.roll(4, 1).toIntArray()).containsExactly(3, 1, 2, 6, 4, 5);
        assertThatThrownBy(() -> Tensor.of(1, 2).tril()).isInstanceOf(ShapeException.class);
    }

    @Test
    void gradientsOfBothOrders() {
        List<UnaryOperator<Tensor>> functions = List.of(
                x -> Tensor.cat(List.of(x, x.mul(2), x.slice(1, 0, 1)), 1),
                x -> Tensor.stack(List.of(x, x.square()), 0),
                x -> x.pad(0.5, 1, -1, 0, 2),
                x -> x.repeat(2, 1, 2),
                x -> x.tril(),
                x -> x.triu(1),
                x -> x.flip(1),
                x -> x.roll(1, 0));
        for (UnaryOperator<Tensor> f : functions) {
            Tensor x = X.div(4).requiresGrad(true);
            GradCheck.of(in -> f.apply(in.get(0)).square(), List.of(x)).run().orThrow();
            GradCheck.second(in -> f.apply(in.get(0)).exp(), List.of(x)).run().orThrow();
        }
    }

    @Test
    void factories() {
        assertThat(Tensor.eye(2, 3, DType.INT32, Device.CPU).toIntArray()).containsExactly(1, 0, 0, 0, 1, 0);
        assertThat(Tensor.arange(3, 9, 4).toLongArray()).containsExactly(3, 7);
        assertThat(Tensor.arange(5, 0, -2).toLongArray()).containsExactly(5, 3, 1);
        assertThat(Tensor.arange(0, 1, 0.25, DType.FLOAT64, Device.CPU).toDoubleArray())
                .containsExactly(0, 0.25, 0.5, 0.75);
        assertThat(Tensor.linspace(-1, 1, 5).toFloatArray()).containsExactly(-1, -0.5f, 0, 0.5f, 1);
        assertThat(Tensor.linspace(2, 3, 1).toFloatArray()).containsExactly(2);
        assertThat(Tensor.full(2.5, 2).toFloatArray()).containsExactly(2.5f, 2.5f);
        assertThat(Tensor.full(7, 1).dtype()).isEqualTo(DType.INT64);
        assertThat(Tensor.ones(DType.BOOL, 2).toBooleanArray()).containsExactly(true, true);
        assertThat(Tensor.scalar(2.5).rank()).isZero();
        assertThat(Tensor.nested(new int[][][] {{{1}, {2}}, {{3}, {4}}}).shape().toString())
                .isEqualTo("[2, 2, 1]");
        assertThatThrownBy(() -> Tensor.arange(0, 5, 0)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.arange(0, 5, -1)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.of(new float[3], 2, 2)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Tensor.of(new float[][] {{1, 2}, {3}}))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("[1]");
        assertThatThrownBy(() -> Tensor.zeros(-1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("-1");
        assertThatThrownBy(() -> Tensor.zeros(1L << 40, 1L << 40)).isInstanceOf(ShapeException.class);
    }
}
