// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Reductions;
import dev.merapi.ops.Scans;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;

/** Running sums and their like, in float64 or long. */
public final class ScanReference {
    private ScanReference() {}

    public static void cumsum(Reductions.CumSum a, Tensor out) {
        Tensor x = a.x();
        Rows rows = Rows.of(x.shape(), x.shape().normalize(a.dim()));
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        boolean floating = out.dtype().isFloating();
        for (long r = 0; r < rows.count(); r++) {
            double sum = 0;
            long total = 0;
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                if (floating) {
                    sum += from.getDouble(i);
                    to.setDouble(i, sum);
                } else {
                    total += from.getLong(i);
                    to.setLong(i, total);
                }
            }
        }
    }

    public static void cumprod(Scans.Along a, Tensor out) {
        Tensor x = a.x();
        Rows rows = Rows.of(x.shape(), x.shape().normalize(a.dim()));
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        boolean floating = out.dtype().isFloating();
        for (long r = 0; r < rows.count(); r++) {
            double product = 1;
            long whole = 1;
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                if (floating) {
                    product *= from.getDouble(i);
                    to.setDouble(i, product);
                } else {
                    whole *= from.getLong(i);
                    to.setLong(i, whole);
                }
            }
        }
    }

    public static void logCumSumExp(Scans.Along a, Tensor out) {
        Tensor x = a.x();
        Rows rows = Rows.of(x.shape(), x.shape().normalize(a.dim()));
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        for (long r = 0; r < rows.count(); r++) {
            double sum = Double.NEGATIVE_INFINITY;
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                double v = from.getDouble(i);
                double most = Math.max(sum, v); // NaN wins
                sum = Double.isInfinite(most) ? most : most + Math.log1p(Math.exp(-Math.abs(sum - v)));
                to.setDouble(i, sum);
            }
        }
    }

    public static void cummax(Scans.Along a, Scans.Extremes out) {
        extremes(a, out, 1);
    }

    public static void cummin(Scans.Along a, Scans.Extremes out) {
        extremes(a, out, -1);
    }

    private static void extremes(Scans.Along a, Scans.Extremes out, int sign) {
        Tensor x = a.x();
        Rows rows = Rows.of(x.shape(), x.shape().normalize(a.dim()));
        if (x.numel() == 0) {
            return;
        }
        Elements from = Elements.of(x);
        Elements to = Elements.of(out.values());
        Elements indices = Elements.of(out.indices());
        boolean floating = x.dtype().isFloating();
        for (long r = 0; r < rows.count(); r++) {
            long at = 0;
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                long best = rows.index(r, at);
                if (floating) {
                    double v = from.getDouble(i);
                    double b = from.getDouble(best);
                    at = Double.isNaN(v) || !Double.isNaN(b) && sign * v >= sign * b ? j : at;
                    to.setDouble(i, from.getDouble(rows.index(r, at)));
                } else {
                    at = sign * Long.compare(from.getLong(i), from.getLong(best)) >= 0 ? j : at;
                    to.setLong(i, from.getLong(rows.index(r, at)));
                }
                indices.setLong(i, at);
            }
        }
    }
}
