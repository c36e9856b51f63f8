// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** Convolution and pooling. */
class ImagesTest {
    private static double pixel(double[] x, long[] s, int n, int c, long i, long j) {
        return i < 0 || j < 0 || i >= s[2] || j >= s[3] ? 0 : x[(int) (((n * s[1] + c) * s[2] + i) * s[3] + j)];
    }

    private static double[] convolution(Tensor x, Tensor w, Tensor b, int stride, int pad, int dilation, int groups) {
        double[] xs = x.toDoubleArray();
        double[] ws = w.toDoubleArray();
        double[] bs = b.toDoubleArray();
        long[] s = x.shape().toArray();
        int o = (int) w.size(0);
        int kh = (int) w.size(2);
        int kw = (int) w.size(3);
        int oh = (int) ((s[2] + 2 * pad - dilation * (kh - 1) - 1) / stride + 1);
        int ow = (int) ((s[3] + 2 * pad - dilation * (kw - 1) - 1) / stride + 1);
        double[] y = new double[(int) s[0] * o * oh * ow];
        int at = 0;
        for (int n = 0; n < s[0]; n++) {
            for (int f = 0; f < o; f++) {
                int first = f / (o / groups) * (int) w.size(1);
                for (int i = 0; i < oh; i++) {
                    for (int j = 0; j < ow; j++) {
                        double sum = bs[f];
                        for (int c = 0; c < w.size(1); c++) {
                            for (int p = 0; p < kh; p++) {
                                for (int q = 0; q < kw; q++) {
                                    sum += ws[(int) (((f * w.size(1) + c) * kh + p) * kw + q)]
                                            * pixel(
                                                    xs,
                                                    s,
                                                    n,
                                                    first + c,
                                                    i * stride + p * dilation - pad,
                                                    j * stride + q * dilation - pad);
                                }
                            }
                        }
                        y[at++] = sum;
                    }
                }
            }
        }
        return y;
    }

    @Test
    void convolvesByItsDefinition() {
        Tensor x = normal(1, 2, 4, 6, 5);
        Tensor w = normal(2, 6, 4, 3, 2);
        Tensor b = normal(3, 6);
        close(Convolution.conv2d(x, w, b, 1, 0, 1, 1), convolution(x, w, b, 1, 0, 1, 1), 1e-13);
        close(Convolution.conv2d(x, w, b, 2, 1, 2, 1), convolution(x, w, b, 2, 1, 2, 1), 1e-13);
        Tensor grouped = normal(4, 6, 2, 3, 3);
        close(Convolution.conv2d(x, grouped, b, 1, 1, 1, 2), convolution(x, grouped, b, 1, 1, 1, 2), 1e-13);
        assertThat(Convolution.conv2d(x.slice(0, 0, 0), w, null, 1, 0, 1, 1)
                        .shape()
                        .toArray())
                .containsExactly(0, 6, 4, 4);
    }

    @Test
    void gradientsOfConvolution() {
        gradients(
                in -> Convolution.conv2d(in.get(0), in.get(1), in.get(2), 1, 1, 1, 1),
                leaf(5, 1, 2, 3, 3),
                leaf(6, 2, 2, 2, 2),
                leaf(7, 2));
        gradients(
                in -> Convolution.conv2d(in.get(0), in.get(1), null, 2, 1, 2, 2),
                leaf(8, 2, 2, 4, 4),
                leaf(9, 2, 1, 2, 2));
    }

    @Test
    void maxPoolingFindsTheFirstLargest() {
        Tensor x = normal(10, 2, 3, 5, 4);
        Pooling.MaxPoolResult r = Pooling.MAX_POOL2D.call(
                new Pooling.MaxPool2d(x, new long[] {2, 2}, new long[] {2, 1}, new long[] {1, 0}, new long[] {1, 1}));
        assertThat(r.y().shape().toArray()).containsExactly(2, 3, 3, 3);
        Tensor inside = x.slice(2, 1, 3).slice(3, 0, 2).amax(2, 3);
        close(r.y().select(2, 1).select(2, 0), inside, 0);
        close(x.flatten(2, 3).gather(2, r.indices().flatten(2, 3)), r.y().flatten(2, 3), 0);
        Tensor ties = Tensor.ones(1, 1, 2, 2).requiresGrad(true);
        dev.merapi.autograd.Autograd.backward(Pooling.maxPool2d(ties, 2, 2, 0).sum());
        assertThat(java.util.Objects.requireNonNull(ties.grad()).toFloatArray()).containsExactly(1, 0, 0, 0);
        assertThat(Pooling.maxPool2d(Tensor.of(new double[] {1, Double.NaN, 3, 4}, 1, 1, 2, 2), 2, 1, 0)
                        .item())
                .isNaN();
    }

    @Test
    void meansOfWindows() {
        Tensor x = normal(11, 1, 2, 4, 4);
        close(
                Pooling.avgPool2d(x, 2, 2, 0).at(0, 1, 1, 0),
                x.at(0, 1).slice(0, 2, 4).slice(1, 0, 2).mean(),
                1e-14);
        close(Pooling.avgPool2d(x, 2, 2, 1).at(0, 0, 0, 0), x.at(0, 0, 0, 0).div(4), 1e-14);
        close(Pooling.globalAvgPool2d(x), x.mean(new int[] {2, 3}, true), 0);
    }

    @Test
    void gradientsOfPooling() {
        gradients(in -> Pooling.maxPool2d(in.get(0).square(), 2, 1, 1), leaf(12, 1, 2, 3, 3));
        gradients(in -> Pooling.avgPool2d(in.get(0).square(), 2, 1, 1), leaf(13, 1, 2, 3, 3));
        gradients(
                in -> Pooling.AVG_POOL2D.call(new Pooling.AvgPool2d(
                        in.get(0).square(), new long[] {2, 3}, new long[] {1, 2}, new long[] {1, 1}, false)),
                leaf(14, 1, 1, 3, 4));
        gradients(in -> Pooling.globalAvgPool2d(in.get(0).square()), leaf(15, 2, 2, 2, 2));
    }

    @Test
    void misfitsAreNamed() {
        Tensor x = normal(16, 1, 3, 4, 4);
        assertThatThrownBy(() -> Convolution.conv2d(x, normal(17, 2, 4, 3, 3), null, 1, 0, 1, 1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("x.size(1) = 3, weight.size(1) = 4, groups = 1");
        assertThatThrownBy(() -> Convolution.conv2d(x, normal(18, 2, 3, 7, 7), null, 1, 1, 1, 1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("the kernel covers 7 elements, but the padded image has 6");
        assertThatThrownBy(() -> Convolution.conv2d(x.at(0), normal(19, 2, 3, 3, 3), null, 1, 0, 1, 1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("unsqueeze(0)");
        assertThatThrownBy(() -> Convolution.conv2d(x, normal(20, 2, 3, 3, 3), null, 0, 0, 1, 1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("at least 1");
        assertThatThrownBy(() -> Pooling.maxPool2d(x, 2, 2, 2))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("more than half");
    }
}
