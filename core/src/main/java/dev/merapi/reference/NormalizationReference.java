// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Layer and RMS norm, row by row in float64. */
public final class NormalizationReference {
    private NormalizationReference() {}

    public static void layerNorm(Normalization.LayerNorm a, Normalization.LayerNormResult out) {
        int n = Math.toIntExact(Normalization.rowLength(a.x(), a.dims()));
        long rows = out.mean().numel();
        if (a.x().numel() == 0) {
            fill(out.mean(), 0);
            fill(out.rstd(), 1 / Math.sqrt(a.eps()));
            return;
        }
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out.y());
        Elements means = Elements.of(out.mean());
        Elements scales = Elements.of(out.rstd());
        for (long r = 0; r < rows; r++) {
            double mean = 0;
            for (int i = 0; i < n; i++) {
                mean += x.getDouble(r * n + i);
            }
            mean /= n;
            double squares = 0;
            for (int i = 0; i < n; i++) {
                double d = x.getDouble(r * n + i) - mean;
                squares += d * d;
            }
            double rstd = 1 / Math.sqrt(squares / n + a.eps());
            means.setDouble(r, mean);
            scales.setDouble(r, rstd);
            for (int i = 0; i < n; i++) {
                double v = (x.getDouble(r * n + i) - mean) * rstd * get(a.weight(), i, 1) + get(a.bias(), i, 0);
                y.setDouble(r * n + i, v);
            }
        }
    }

    public static void layerNormBackward(Normalization.LayerNormBackward a, List<Tensor> out) {
        backward(a.grad(), a.x(), a.weight(), a.mean(), a.rstd(), a.dims(), a.wantX(), a.wantWeight(), out);
    }

    public static void rmsNorm(Normalization.RmsNorm a, Normalization.RmsNormResult out) {
        int n = Math.toIntExact(Normalization.rowLength(a.x(), a.dims()));
        if (a.x().numel() == 0) {
            fill(out.rstd(), 1 / Math.sqrt(a.eps()));
            return;
        }
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out.y());
        Elements scales = Elements.of(out.rstd());
        for (long r = 0; r < out.rstd().numel(); r++) {
            double squares = 0;
            for (int i = 0; i < n; i++) {
                double v = x.getDouble(r * n + i);
                squares += v * v;
            }
            double rstd = 1 / Math.sqrt(squares / n + a.eps());
            scales.setDouble(r, rstd);
            for (int i = 0; i < n; i++) {
                y.setDouble(r * n + i, x.getDouble(r * n + i) * rstd * get(a.weight(), i, 1));
            }
        }
    }

    public static void rmsNormBackward(Normalization.RmsNormBackward a, List<Tensor> out) {
        backward(a.grad(), a.x(), a.weight(), null, a.rstd(), a.dims(), a.wantX(), a.wantWeight(), out);
    }

    /** Both: without a mean there is no centring. */
    private static void backward(
            Tensor grad,
            Tensor input,
            @Nullable Tensor weight,
            @Nullable Tensor mean,
            Tensor rstd,
            int dims,
            boolean wantX,
            boolean wantWeight,
            List<Tensor> out) {
        int n = Math.toIntExact(Normalization.rowLength(input, dims));
        double[] dw = new double[n];
        double[] db = new double[n];
        boolean empty = input.numel() == 0;
        long rows = empty ? 0 : rstd.numel();
        Elements g = empty ? null : Elements.of(grad);
        Elements x = empty ? null : Elements.of(input);
        Elements dx = wantX && !empty ? Elements.of(out.get(0)) : null;
        for (long r = 0; r < rows && g != null && x != null; r++) {
            double m = mean == null ? 0 : Elements.of(mean).getDouble(r);
            double scale = Elements.of(rstd).getDouble(r);
            double sum = 0;
            double along = 0;
            for (int i = 0; i < n; i++) {
                double dy = g.getDouble(r * n + i);
                double normal = (x.getDouble(r * n + i) - m) * scale;
                dw[i] += dy * normal;
                db[i] += dy;
                sum += dy * get(weight, i, 1);
                along += dy * get(weight, i, 1) * normal;
            }
            for (int i = 0; i < n && dx != null; i++) {
                double normal = (x.getDouble(r * n + i) - m) * scale;
                double centred = g.getDouble(r * n + i) * get(weight, i, 1) - (mean == null ? 0 : sum / n);
                dx.setDouble(r * n + i, scale * (centred - normal * along / n));
            }
        }
        int k = wantX ? 1 : 0;
        if (wantWeight) {
            set(out.get(k++), dw);
        }
        if (k < out.size()) {
            set(out.get(k), db);
        }
    }

    private static double get(@Nullable Tensor t, int i, double otherwise) {
        return t == null ? otherwise : Elements.of(t).getDouble(i);
    }

    private static void set(Tensor t, double[] values) {
        for (int i = 0; i < values.length; i++) {
            Elements.of(t).setDouble(i, values[i]);
        }
    }

    private static void fill(Tensor t, double value) {
        for (long i = 0; i < t.numel(); i++) {
            Elements.of(t).setDouble(i, value);
        }
    }
}
