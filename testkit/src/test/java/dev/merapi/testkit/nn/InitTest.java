// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.nn.*;
import dev.merapi.nn.Init.FanMode;
import dev.merapi.nn.Init.Nonlinearity;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Recurrent.Cell;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** First values have the bounds and variances that PyTorch's definitions give. */
class InitTest {
    /** @param bound of uniform numbers */
    private static void uniform(String what, Tensor t, double bound) {
        double[] v = t.to(DType.FLOAT64).toDoubleArray();
        assertThat(Arrays.stream(v).map(Math::abs).max().orElseThrow())
                .as(what)
                .isLessThanOrEqualTo(bound * (1 + 1e-6));
        spread(what, v, 0, bound * bound / 3, 4.0 / 5);
    }

    private static void normal(String what, Tensor t, double deviation) {
        spread(what, t.to(DType.FLOAT64).toDoubleArray(), 0, deviation * deviation, 2);
    }

    /** Mean and variance within five of their own deviations; {@code kurtosis} is that of the squares, minus 1. */
    private static void spread(String what, double[] v, double mean, double variance, double kurtosis) {
        double sum = 0;
        double squares = 0;
        for (double x : v) {
            sum += x;
            squares += (x - mean) * (x - mean);
        }
        assertThat(sum / v.length).as(what).isCloseTo(mean, within(5 * Math.sqrt(variance / v.length)));
        assertThat(squares / v.length)
                .as(what)
                .isCloseTo(variance, within(5 * variance * Math.sqrt(kurtosis / v.length)));
    }

    @Test
    void gainsAndFansArePyTorchs() {
        assertThat(Init.gain(Nonlinearity.LINEAR, 0)).isEqualTo(1);
        assertThat(Init.gain(Nonlinearity.SIGMOID, 0)).isEqualTo(1);
        assertThat(Init.gain(Nonlinearity.TANH, 0)).isEqualTo(1.6666666666666667);
        assertThat(Init.gain(Nonlinearity.RELU, 0)).isEqualTo(1.4142135623730951);
        assertThat(Init.gain(Nonlinearity.LEAKY_RELU, 0.01)).isEqualTo(1.4141428569978354);
        assertThat(Init.gain(Nonlinearity.LEAKY_RELU, 0.2)).isEqualTo(1.3867504905630728);
        assertThat(Init.gain(Nonlinearity.SELU, 0)).isEqualTo(0.75);
        assertThat(Init.fans(Tensor.zeros(5, 3))).isEqualTo(new Init.Fans(3, 5));
        assertThat(Init.fans(Tensor.zeros(5, 3, 2, 7))).isEqualTo(new Init.Fans(42, 70));
        assertThatThrownBy(() -> Init.fans(Tensor.zeros(5))).isInstanceOf(ShapeException.class);
    }

    @Test
    void variancesFollowTheFans() {
        Tensor t = Tensor.empty(80, 20, 3); // fans 60 and 240
        Init.xavierUniform_(t, 2);
        uniform("xavierUniform_", t, 2 * Math.sqrt(6.0 / 300));
        Init.xavierNormal_(t, 2);
        normal("xavierNormal_", t, 2 * Math.sqrt(2.0 / 300));
        Init.kaimingUniform_(t, 0, FanMode.FAN_IN, Nonlinearity.RELU);
        uniform("kaimingUniform_", t, Math.sqrt(6.0 / 60));
        Init.kaimingUniform_(t, Math.sqrt(5), FanMode.FAN_IN, Nonlinearity.LEAKY_RELU);
        uniform("kaimingUniform_ as layers have it", t, 1 / Math.sqrt(60));
        Init.kaimingNormal_(t, 0.2, FanMode.FAN_OUT, Nonlinearity.LEAKY_RELU);
        normal("kaimingNormal_", t, Math.sqrt(2 / 1.04 / 240));
        Init.uniform_(t, -3, 3);
        uniform("uniform_", t, 3);
        Init.normal_(t, 2, 0.5);
        spread("normal_", t.to(DType.FLOAT64).toDoubleArray(), 2, 0.25, 2);
        Init.constant_(t, 7);
        assertThat(t.eq(7).all().item()).isEqualTo(1);
        assertThatThrownBy(() -> Init.constant_(Tensor.of(new long[] {1}), 1)).isInstanceOf(DTypeException.class);
    }

    /** Mean and variance by the density: φ between the bounds. */
    @Test
    void whatIsTruncatedLiesBetweenTheBounds() {
        for (double[] c : new double[][] {{0, 1, -2, 2}, {1, 0.5, 0.9, 3}, {0, 1, 2.5, 9}, {0, 2, -0.01, 0.01}}) {
            Tensor t = Tensor.empty(20_000);
            Init.truncatedNormal_(t, c[0], c[1], c[2], c[3]);
            double[] v = t.to(DType.FLOAT64).toDoubleArray();
            assertThat(Arrays.stream(v).min().orElseThrow()).isGreaterThanOrEqualTo(c[2] - 1e-6);
            assertThat(Arrays.stream(v).max().orElseThrow()).isLessThanOrEqualTo(c[3] + 1e-6);
            double mass = 0;
            double first = 0;
            double second = 0;
            double fourth = 0;
            int steps = 20_000;
            double width = (c[3] - c[2]) / steps;
            for (int pass = 0; pass < 2; pass++) {
                for (int i = 0; i < steps; i++) {
                    double x = c[2] + (i + 0.5) * width;
                    double p = Math.exp(-0.5 * Math.pow((x - c[0]) / c[1], 2));
                    if (pass == 0) {
                        mass += p;
                        first += p * x;
                    } else {
                        double d = x - first / mass;
                        second += p * d * d;
                        fourth += p * d * d * d * d;
                    }
                }
            }
            double variance = second / mass;
            spread("truncated", v, first / mass, variance, fourth / mass / variance / variance - 1);
        }
        assertThatThrownBy(() -> Init.truncatedNormal_(Tensor.empty(2), 0, 1, 3, 2))
                .isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void orthogonalRowsOrColumns() {
        for (long[] shape : new long[][] {{30, 40}, {40, 30}, {6, 2, 5}, {7, 7}}) {
            Tensor t = Tensor.empty(dev.merapi.types.Shape.of(shape), DType.FLOAT64, dev.merapi.types.Device.CPU);
            InitMatrix.orthogonal_(t, 3);
            Tensor m = t.view(shape[0], -1);
            Tensor product = m.size(0) <= m.size(1) ? m.matmul(m.t()) : m.t().matmul(m);
            assertThat(product.sub(Tensor.eye(product.size(0)).mul(9))
                            .abs()
                            .max()
                            .item())
                    .isLessThan(1e-12);
        }
        InitMatrix.orthogonal_(Tensor.empty(0, 3), 1);
        assertThatThrownBy(() -> InitMatrix.orthogonal_(Tensor.empty(3), 1)).isInstanceOf(ShapeException.class);
    }

    @Test
    void identitiesAndSparseColumns() {
        Tensor eye = Tensor.empty(3, 5);
        InitMatrix.eye_(eye);
        assertThat(eye.toFloatArray())
                .isEqualTo(Tensor.eye(3, 5, DType.FLOAT32, dev.merapi.types.Device.CPU)
                        .toFloatArray());
        Tensor w = Tensor.empty(6, 2, 3, 3);
        InitMatrix.dirac_(w, 2);
        Tensor x = Tensor.rand(1, 4, 5, 5);
        Tensor y = Convolution.conv2d(x, w, null, 1, 1, 1, 2);
        for (int i = 0; i < 2; i++) { // each group gives its two channels, and zeros
            assertThat(y.slice(1, 3 * i, 3 * i + 2).toFloatArray())
                    .isEqualTo(x.slice(1, 2 * i, 2 * i + 2).toFloatArray());
            assertThat(y.select(1, 3 * i + 2).abs().sum().item()).isEqualTo(0);
        }
        Tensor sparse = Tensor.empty(10, 300);
        InitMatrix.sparse_(sparse, 0.25, 2);
        assertThat(sparse.eq(0).sum(0).toLongArray()).containsOnly(3);
        double[] others = sparse.maskedSelect(sparse.ne(0)).to(DType.FLOAT64).toDoubleArray();
        spread("sparse", others, 0, 4, 2);
    }

    @Test
    void layersBeginAsPyTorchs() {
        Map<String, Double> bounds = new LinkedHashMap<>();
        Map<String, Block> layers = Map.of(
                "Linear", new Linear(30, 100),
                "Conv2d", new Conv2d(6, 40, new long[] {2, 5}, Conv2d.options().groups(2)),
                "ConvTranspose2d",
                        new ConvTranspose2d(40, 6, 3, ConvTranspose2d.options().groups(2)),
                "LSTM", new Rnn(Cell.LSTM, 10, 25),
                "Bilinear", new Bilinear(10, 20, 50, true));
        bounds.put("Linear", 1 / Math.sqrt(30));
        bounds.put("Conv2d", 1 / Math.sqrt(3 * 10));
        bounds.put("ConvTranspose2d", 1 / Math.sqrt(3 * 9)); // PyTorch counts size 1, which is out / groups
        bounds.put("LSTM", 1 / Math.sqrt(25));
        bounds.put("Bilinear", 1 / Math.sqrt(10));
        bounds.forEach((name, bound) -> layers.get(name)
                .namedParameters()
                .forEach((n, p) -> uniform(name + "." + n, p.tensor().detach(), bound)));
        normal("Embedding", new Embedding(50, 40).weight().detach(), 1);
        Map<String, Parameter> a = new MultiheadAttention(40, 4, false).namedParameters();
        uniform("in_proj_weight", a.get("in_proj_weight").tensor().detach(), Math.sqrt(6.0 / 160));
        uniform("out_proj.weight", a.get("out_proj.weight").tensor().detach(), 1 / Math.sqrt(40));
        assertThat(a.get("in_proj_bias").tensor().abs().sum().item()).isEqualTo(0);
        assertThat(a.get("out_proj.bias").tensor().abs().sum().item()).isEqualTo(0);
        for (Block norm : new Block[] {new BatchNorm2d(3), new GroupNorm(1, 3), new LayerNorm(3)}) {
            assertThat(norm.stateDict().get("weight", Tensor.class).toFloatArray())
                    .containsOnly(1);
            assertThat(norm.stateDict().get("bias", Tensor.class).toFloatArray())
                    .containsOnly(0);
        }
    }
}
