// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Convolution;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Convolution and its gradients by their sums, in float64. */
public final class ConvolutionReference {
    private ConvolutionReference() {}

    /** Called with the indices of x, of the weight and of y whose product is one term of a sum. */
    private interface Term {
        void add(int x, int weight, int y);
    }

    public static void forward(Convolution.Conv2d a, Tensor out) {
        double[] y = new double[Math.toIntExact(out.numel())];
        int planes = Math.toIntExact(out.size(2) * out.size(3));
        for (int i = 0; i < y.length; i++) {
            y[i] = a.bias() == null ? 0 : Elements.of(a.bias()).getDouble(i / planes % out.size(1));
        }
        double[] x = values(a.x());
        double[] w = values(a.weight());
        long[] sizes = {a.x().size(0), a.x().size(1), a.x().size(2), a.x().size(3)};
        long[] kernel = {
            a.weight().size(0),
            a.weight().size(1),
            a.weight().size(2),
            a.weight().size(3)
        };
        walk(
                sizes,
                kernel,
                out.shape().toArray(),
                a.stride(),
                a.padding(),
                a.dilation(),
                a.groups(),
                (i, k, o) -> y[o] += x[i] * w[k]);
        store(y, out);
    }

    public static void inputGradient(Convolution.InputGradient a, Tensor out) {
        double[] dx = new double[Math.toIntExact(out.numel())];
        double[] g = values(a.grad());
        double[] w = values(a.weight());
        walk(
                out.shape().toArray(),
                a.weight().shape().toArray(),
                a.grad().shape().toArray(),
                a.stride(),
                a.padding(),
                a.dilation(),
                a.groups(),
                (i, k, o) -> dx[i] += g[o] * w[k]);
        store(dx, out);
    }

    public static void weightGradient(Convolution.WeightGradient a, Tensor out) {
        double[] dw = new double[Math.toIntExact(out.numel())];
        double[] g = values(a.grad());
        double[] x = values(a.x());
        walk(
                a.x().shape().toArray(),
                out.shape().toArray(),
                a.grad().shape().toArray(),
                a.stride(),
                a.padding(),
                a.dilation(),
                a.groups(),
                (i, k, o) -> dw[k] += g[o] * x[i]);
        store(dw, out);
    }

    private static void walk(
            long[] x, long[] weight, long[] y, long[] stride, long[] padding, long[] dilation, long groups, Term term) {
        int perGroup = (int) (y[1] / groups);
        for (int n = 0; n < y[0]; n++) {
            for (int o = 0; o < y[1]; o++) {
                for (int c = 0; c < weight[1]; c++) {
                    int channel = (int) (o / perGroup * weight[1] + c);
                    int plane = (int) ((n * x[1] + channel) * x[2]);
                    for (int p = 0; p < weight[2]; p++) {
                        for (int q = 0; q < weight[3]; q++) {
                            int k = (int) (((o * weight[1] + c) * weight[2] + p) * weight[3] + q);
                            for (int i = 0; i < y[2]; i++) {
                                long row = i * stride[0] + p * dilation[0] - padding[0];
                                if (row < 0 || row >= x[2]) {
                                    continue;
                                }
                                int at = (int) (((n * y[1] + o) * y[2] + i) * y[3]);
                                for (int j = 0; j < y[3]; j++) {
                                    long column = j * stride[1] + q * dilation[1] - padding[1];
                                    if (column >= 0 && column < x[3]) {
                                        term.add((int) ((plane + row) * x[3] + column), k, at + j);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    static double[] values(@Nullable Tensor t) {
        if (t == null || t.numel() == 0) {
            return new double[0];
        }
        Elements e = Elements.of(t);
        double[] v = new double[Math.toIntExact(t.numel())];
        for (int i = 0; i < v.length; i++) {
            v[i] = e.getDouble(i);
        }
        return v;
    }

    static void store(double[] values, Tensor out) {
        Elements e = Elements.of(out);
        for (int i = 0; i < values.length; i++) {
            e.setDouble(i, values[i]);
        }
    }
}
