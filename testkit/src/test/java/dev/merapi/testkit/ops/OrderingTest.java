// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.GradCheck;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.QuantileInterpolation;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sorting and the largest elements: ties, special values, other dimensions, gradients. */
class OrderingTest {
    @Test
    void equalsKeepTheirOrderAndNaNIsTheLargest() {
        Tensor x = Tensor.of(2f, Float.NaN, -0f, 2f, 0f, Float.NEGATIVE_INFINITY, Float.POSITIVE_INFINITY);
        Ordering.Ordered rising = x.sort(0);
        assertThat(rising.indices().toLongArray()).containsExactly(5, 2, 4, 0, 3, 6, 1);
        assertThat(rising.values().toFloatArray())
                .containsExactly(Float.NEGATIVE_INFINITY, -0f, 0f, 2f, 2f, Float.POSITIVE_INFINITY, Float.NaN);
        assertThat(x.argsort(0, true).toLongArray()).containsExactly(1, 6, 0, 3, 2, 4, 5);
        assertThat(x.topk(3).indices().toLongArray()).containsExactly(1, 6, 0);
        assertThat(x.topk(2, 0, false).indices().toLongArray()).containsExactly(5, 2);
    }

    @Test
    void anyDimensionAndLayout() {
        Tensor x = Tensor.of(new int[] {3, 1, 2, 9, 7, 8}, 2, 3);
        assertThat(x.sort(0, true).values().toIntArray()).containsExactly(9, 7, 8, 3, 1, 2);
        assertThat(x.transpose(0, 1).sort(-1, true).values().toIntArray()).containsExactly(9, 3, 7, 1, 8, 2);
        assertThat(x.topk(1, 1, true).indices().toLongArray()).containsExactly(0, 0);
        assertThat(Tensor.zeros(2, 0).sort(1).values().shape()).isEqualTo(Shape.of(2, 0));
        assertThat(Tensor.zeros(2, 3).topk(0).values().shape()).isEqualTo(Shape.of(2, 0));
        assertThat(Tensor.of(true, false, true).argsort(0, false).toLongArray()).containsExactly(1, 0, 2);
        Tensor large = Tensor.of(Long.MAX_VALUE, Long.MAX_VALUE - 1, Long.MIN_VALUE);
        assertThat(large.argsort(0, false).toLongArray()).containsExactly(2, 1, 0);
    }

    @Test
    void gradientsGoToWhereTheValuesCameFrom() {
        Tensor x = Tensor.of(new double[] {3, 1, 2, 9, 7, 8}, 2, 3).requiresGrad(true);
        Ordering.Ordered two = x.topk(2, 0, true);
        Autograd.backward(two.values()
                .mul(Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3))
                .sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(4, 5, 6, 1, 2, 3);
        assertThat(two.indices().requiresGrad()).isFalse();
        GradCheck.of(in -> in.get(0).sort(1).values().square(), List.of(x))
                .run()
                .orThrow();
        GradCheck.second(in -> in.get(0).sort(1, true).values().mul(0.1).exp(), List.of(x))
                .run()
                .orThrow();
    }

    /** What PyTorch has no golden value for: no dimension, all NaN, infinities, and what is refused. */
    @Test
    void quantilesAtTheEdges() {
        assertThat(Tensor.scalar(3.0).quantile(0.2).item()).isEqualTo(3);
        Tensor nan = Tensor.of(Double.NaN, Double.NaN);
        assertThat(nan.nanQuantile(0.5).item()).isNaN();
        assertThat(Tensor.of(1.0, Double.NaN, 3.0).nanQuantile(0.5).item()).isEqualTo(2);
        Tensor ends = Tensor.of(Double.POSITIVE_INFINITY, 1, Double.NEGATIVE_INFINITY);
        assertThat(ends.quantile(0.0).item()).isEqualTo(Double.NEGATIVE_INFINITY);
        assertThat(ends.quantile(0.5).item()).isEqualTo(1);
        assertThat(Tensor.zeros(0, 3).quantile(0.5, 1, true).shape()).isEqualTo(Shape.of(0, 1));
        assertThat(Tensor.ones(2, 3).to(DType.FLOAT16).quantile(0.5, 1, false).dtype())
                .isEqualTo(DType.FLOAT16);
        assertThatThrownBy(() -> ends.quantile(1.5))
                .hasMessageContaining("quantile")
                .hasMessageContaining("1.5");
        assertThatThrownBy(() -> ends.quantile(Tensor.of(0.5, -1.0), 0, false, QuantileInterpolation.LOWER))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("[0, 1]");
        assertThatThrownBy(() -> Tensor.zeros(3, 0).quantile(0.5, 1, false))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("nothing along dimension 1");
        assertThatThrownBy(() -> Tensor.arange(3).quantile(0.5)).isInstanceOf(DTypeException.class);
    }
}
