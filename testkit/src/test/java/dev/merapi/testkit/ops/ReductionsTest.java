// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.ops.Combine;
import dev.merapi.ops.ReductionOp;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ReductionsTest {
    private static final ReductionOp MSE =
            ReductionOp.define("test::mean_square", (x, y) -> x.sub(y).square(), Combine.MEAN);
    private static final ReductionOp SUM_EXP = ReductionOp.define("test::sum_exp", Expr::exp, Combine.SUM);
    private static final ReductionOp RMS = ReductionOp.define("test::rms", Expr::square, Combine.MEAN, Expr::sqrt);
    private static final ReductionOp LOG_SUM_OF_POWERS = ReductionOp.define(
            "test::log_sum_of_powers",
            2,
            1,
            a -> a.get(0).mul(a.get(1)).abs().pow(a.get(2)),
            Combine.SUM,
            a -> a.get(0).log().div(a.get(1)));
    private static final ReductionOp MAX_SQUARE = ReductionOp.define("test::max_square", Expr::square, Combine.MAX);

    /** Reduces dimension 1 of [a, b, c] by a loop. */
    private static double[] middle(Tensor x, Function<double[], Double> f) {
        double[] v = x.toDoubleArray();
        int a = (int) x.size(0);
        int b = (int) x.size(1);
        int c = (int) x.size(2);
        double[] out = new double[a * c];
        for (int i = 0; i < a; i++) {
            for (int k = 0; k < c; k++) {
                double[] row = new double[b];
                for (int j = 0; j < b; j++) {
                    row[j] = v[(i * b + j) * c + k];
                }
                out[i * c + k] = f.apply(row);
            }
        }
        return out;
    }

    private static double variance(double[] v, int correction) {
        double mean = DoubleStream.of(v).average().orElseThrow();
        DoubleUnaryOperator square = d -> (d - mean) * (d - mean);
        return DoubleStream.of(v).map(square).sum() / (v.length - correction);
    }

    @Test
    void reducesAMiddleDimension() {
        Tensor x = normal(1, 3, 5, 4);
        close(x.sum(1), middle(x, v -> DoubleStream.of(v).sum()), 1e-14);
        close(x.mean(1), middle(x, v -> DoubleStream.of(v).average().orElseThrow()), 1e-14);
        close(x.prod(-2), middle(x, v -> DoubleStream.of(v).reduce(1, (p, q) -> p * q)), 1e-14);
        close(x.amax(1), middle(x, v -> DoubleStream.of(v).max().orElseThrow()), 0);
        close(x.amin(1), middle(x, v -> DoubleStream.of(v).min().orElseThrow()), 0);
        close(x.var(1), middle(x, v -> variance(v, 1)), 1e-14);
        close(x.var(new int[] {1}, false, false), middle(x, v -> variance(v, 0)), 1e-14);
        close(x.std(1), middle(x, v -> Math.sqrt(variance(v, 1))), 1e-14);
        close(
                x.norm(1),
                middle(x, v -> Math.sqrt(DoubleStream.of(v).map(d -> d * d).sum())),
                1e-14);
        close(
                x.norm(3, new int[] {1}, false),
                middle(
                        x,
                        v -> Math.cbrt(
                                DoubleStream.of(v).map(d -> Math.abs(d * d * d)).sum())),
                1e-14);
        close(
                x.norm(Double.POSITIVE_INFINITY, new int[] {1}, false),
                middle(x, v -> DoubleStream.of(v).map(Math::abs).max().orElseThrow()),
                0);
        close(
                x.logSumExp(1),
                middle(x, v -> Math.log(DoubleStream.of(v).map(Math::exp).sum())),
                1e-14);
    }

    @Test
    void reducesSeveralDimensionsAndKeepsThemIfWanted() {
        Tensor x = normal(2, 2, 3, 4);
        close(x.sum(0, 2), x.sum(2).sum(0), 1e-14);
        assertThat(x.sum(new int[] {0, 2}, true).shape().toArray()).containsExactly(1, 3, 1);
        assertThat(x.sum().rank()).isZero();
        close(x.transpose(0, 2).sum(0), x.sum(2).transpose(0, 1), 1e-14);
        close(x.slice(2, 1, 3).mean(), x.slice(2, 1, 3).copy().mean(), 1e-14);
        close(x.logSumExp(0, 2), x.exp().sum(0, 2).log(), 1e-13);
        close(
                x.logSumExp(new int[] {0, 1}, true),
                x.exp().sum(new int[] {0, 1}, true).log(),
                1e-13);
    }

    @Test
    void integersSumToInt64AndDtypeDecides() {
        Tensor x = Tensor.of(new int[] {Integer.MAX_VALUE, 1, 2});
        assertThat(x.sum().dtype()).isEqualTo(DType.INT64);
        assertThat(x.sum().itemLong()).isEqualTo(Integer.MAX_VALUE + 3L);
        assertThat(Tensor.of(true, false, true).sum().itemLong()).isEqualTo(2);
        assertThat(Tensor.of(1f, 2f).sum(new int[0], false, DType.FLOAT64).dtype())
                .isEqualTo(DType.FLOAT64);
        assertThat(Tensor.of(3, 0, 5).countNonzero().itemLong()).isEqualTo(2);
        assertThat(x.amax().dtype()).isEqualTo(DType.INT32);
        assertThat(Tensor.of(1f, 2f).to(DType.BFLOAT16).sum().dtype()).isEqualTo(DType.BFLOAT16);
        assertThatThrownBy(x::mean)
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("merapi::mean: needs a floating");
    }

    @Test
    void extremesGiveTheFirstIndexAndPropagateNaN() {
        Tensor x = Tensor.of(new double[] {1, 7, 7, Double.NaN, 2, 9, -3, -3, 4}, 3, 3);
        assertThat(x.argmax(1).toLongArray()).containsExactly(1, 0, 2);
        assertThat(x.argmin(1).toLongArray()).containsExactly(0, 0, 0);
        assertThat(x.amax(1).toDoubleArray()).containsExactly(7, Double.NaN, 4);
        assertThat(x.argmax().itemLong()).isEqualTo(3);
        Reductions.Extremes m = x.slice(0, 0, 1).max(1, true);
        assertThat(m.values().toDoubleArray()).containsExactly(7);
        assertThat(m.indices().toLongArray()).containsExactly(1);
        assertThat(m.values().shape().toArray()).containsExactly(1, 1);
        assertThat(Tensor.of(true, false).min(0, false).values().itemBoolean()).isFalse();
    }

    @Test
    void logic() {
        Tensor x = Tensor.of(new double[] {0, 0, 0, Double.NaN, 1, 1}, 3, 2);
        assertThat(x.any(1).toBooleanArray()).containsExactly(false, true, true);
        assertThat(x.all(1).toBooleanArray()).containsExactly(true && false, false, true);
        assertThat(Tensor.of(true, false).amax().itemBoolean()).isTrue();
    }

    @Test
    void nothingSumsToZeroAndHasNoMaximum() {
        Tensor x = Tensor.zeros(2, 0, 3);
        assertThat(x.sum(1).toDoubleArray()).containsOnly(0).hasSize(6);
        assertThat(x.prod().item()).isEqualTo(1);
        assertThat(x.mean().item()).isNaN();
        assertThat(x.any().itemBoolean()).isFalse();
        assertThat(x.all().itemBoolean()).isTrue();
        assertThat(x.amax(0).shape().toArray()).containsExactly(0, 3);
        assertThatThrownBy(() -> x.amax(1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("there is no amax of no elements")
                .hasMessageContaining("[2, 0, 3]");
        assertThatThrownBy(() -> x.sum(3)).isInstanceOf(ShapeException.class).hasMessageContaining("dimension 3");
        assertThatThrownBy(() -> x.sum(0, -3))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("twice");
    }

    @Test
    void aSumOfHalvesAccumulatesInMoreThanTheirPrecision() {
        Tensor x = Tensor.full(0.001, 10_000).to(DType.FLOAT16);
        double each = x.at(0).item();
        assertThat(x.sum().item()).isCloseTo(each * 10_000, org.assertj.core.data.Offset.offset(0.01));
    }

    @Test
    void gradientsOfEachReduction() {
        Tensor x = leaf(3, 3, 4);
        gradients(in -> in.get(0).sum(0), x);
        gradients(in -> in.get(0).mean(1), x);
        gradients(in -> in.get(0).square().mean(new int[] {0}, true), x);
        gradients(in -> in.get(0).prod(1), x);
        gradients(in -> in.get(0).amax(1), x);
        gradients(in -> in.get(0).amin(), x);
        gradients(in -> in.get(0).max(1, false).values(), x);
        gradients(in -> in.get(0).var(1), x);
        gradients(in -> in.get(0).std(new int[] {0}, false, true), x);
        gradients(in -> in.get(0).norm(1), x);
        gradients(in -> in.get(0).norm(3, new int[] {1}, false), x);
        gradients(in -> in.get(0).norm(1, new int[] {1}, false), x);
        gradients(in -> in.get(0).logSumExp(0), x);
        gradients(in -> in.get(0).cumsum(1), x);
    }

    @Test
    void anEpilogueIsASecondExpression() {
        Tensor x = normal(1, 3, 5, 4);
        close(
                RMS.call(x, 1),
                middle(
                        x,
                        v -> Math.sqrt(
                                DoubleStream.of(v).map(d -> d * d).average().orElseThrow())),
                1e-14);
        Tensor y = normal(2, 5, 1);
        Tensor both = LOG_SUM_OF_POWERS.call(List.of(x, y), List.of(3), new int[] {1}, false, null);
        Tensor z = x.mul(y);
        close(
                both,
                middle(
                        z,
                        v -> Math.log(DoubleStream.of(v)
                                        .map(d -> Math.abs(d * d * d))
                                        .sum())
                                / 3),
                1e-14);
        gradients(in -> RMS.call(in.get(0), 0), leaf(3, 3, 4));
        gradients(
                in -> LOG_SUM_OF_POWERS.call(in, List.of(3), new int[] {1}, true, null), leaf(4, 2, 4), leaf(5, 2, 4));
    }

    /** The sum is not rounded before: √257 is 16.03, and 257 is no bfloat16. */
    @Test
    void anEpilogueSeesTheSumInFloat32() {
        Tensor x = Tensor.full(16.0, 257).to(DType.BFLOAT16);
        Tensor ones = Tensor.full(1.0, 257).to(DType.BFLOAT16);
        ReductionOp less = ReductionOp.define("test::less_256", v -> v, Combine.SUM, s -> s.sub(256));
        assertThat(less.call(ones).item()).isEqualTo(1);
        assertThat(less.call(ones).dtype()).isEqualTo(DType.BFLOAT16);
        assertThat(less.call(x.detach().requiresGrad(true)).item()).isEqualTo(3856);
        assertThatThrownBy(() -> RMS.call(Tensor.of(1L, 2L)))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("floating");
        assertThatThrownBy(() -> x.to(DType.INT64).norm())
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("norm: needs a floating dtype");
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2, 3})
    void productsWithZerosHaveRightDerivatives(int zeros) {
        double[] v = {1.5, -2, 0.5, 3};
        for (int i = 0; i < zeros; i++) {
            v[2 * i % 3] = 0;
        }
        gradients(in -> in.get(0).prod(), Tensor.of(v).requiresGrad(true));
    }

    @Test
    void tiesShareTheGradientOfAmaxButMaxGivesItToTheFirst() {
        Tensor x = Tensor.of(2.0, 5, 5, 1).requiresGrad(true);
        dev.merapi.autograd.Autograd.backward(x.amax());
        assertThat(java.util.Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(0, 0.5, 0.5, 0);
        x.setGrad(null);
        dev.merapi.autograd.Autograd.backward(x.max(0, false).values());
        assertThat(java.util.Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(0, 1, 0, 0);
    }

    @Test
    void expressionsInFrontTakeOnePassAndDifferentiate() {
        Tensor x = leaf(4, 3, 4);
        Tensor y = leaf(5, 4);
        close(MSE.call(x, y), x.sub(y).square().mean(), 1e-14);
        gradients(in -> MSE.call(in.get(0), in.get(1)), x, y);
        gradients(in -> MSE.call(in.get(0), in.get(1), 1), x, y);
        gradients(in -> SUM_EXP.call(in.get(0), 0), x);
        gradients(in -> MAX_SQUARE.call(in.get(0), 1), x);
        assertThatThrownBy(() -> MSE.call(List.of(x), List.of(), new int[0], false, null))
                .isInstanceOf(ShapeException.class);
    }

    @Test
    void runningSums() {
        Tensor x = normal(6, 2, 3);
        double[] v = x.toDoubleArray();
        close(
                x.cumsum(1),
                new double[] {v[0], v[0] + v[1], v[0] + v[1] + v[2], v[3], v[3] + v[4], v[3] + v[4] + v[5]},
                1e-15);
        close(x.cumsum(0), new double[] {v[0], v[1], v[2], v[0] + v[3], v[1] + v[4], v[2] + v[5]}, 1e-15);
        assertThat(Tensor.of(true, true, false).cumsum(0).toLongArray()).containsExactly(1, 2, 2);
    }

    @Test
    void broadcastOperandsGetTheirGradientFromAReduction() {
        Tensor x = leaf(7, 2, 3, 4);
        gradients(in -> in.get(0).mul(in.get(1)), x, leaf(8, 4));
        gradients(in -> in.get(0).mul(in.get(1)).exp(), x, leaf(9, 3, 1));
        gradients(in -> in.get(0).div(in.get(1).exp()), leaf(10, 1, 3, 1), leaf(11, 2, 1, 4));
        gradients(in -> in.get(0).add(in.get(1)).square(), x, leaf(12, 4));
        gradients(in -> in.get(0).mul(in.get(1)), x, leaf(13));
        gradients(in -> in.get(0).fma(in.get(1), in.get(2)), x, leaf(14, 4), leaf(15, 3, 1));
    }

    @Test
    void shapesFlowWithoutMemory() {
        Tensor x = Tensor.meta(dev.merapi.types.Shape.of(2, 3, 4), DType.FLOAT32, dev.merapi.types.Device.CPU);
        assertThat(x.sum(1).isMeta()).isTrue();
        assertThat(x.max(-1, true).values().shape().toArray()).containsExactly(2, 3, 1);
        assertThat(x.matmul(x.transpose(1, 2)).softmax(-1).logSumExp(0).shape().toArray())
                .containsExactly(3, 3);
    }

    @Test
    void extremesOfOneKindInAnother() {
        Tensor integers = Tensor.of(new int[] {1, -3, 2});
        assertThat(Reductions.AMIN
                        .call(integers, new int[0], false, DType.BFLOAT16)
                        .item())
                .isEqualTo(-3);
        assertThat(Reductions.AMAX
                        .call(integers, new int[0], false, DType.FLOAT64)
                        .item())
                .isEqualTo(2);
        Tensor numbers = Tensor.of(new double[] {1.5, -3.5, 2.75});
        assertThat(Reductions.AMAX.call(numbers, new int[0], false, DType.INT64).itemLong())
                .isEqualTo(2);
    }
}
