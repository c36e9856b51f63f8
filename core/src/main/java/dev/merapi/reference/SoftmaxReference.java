// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;

/** Softmax and its relatives along one dimension, in float64. */
public final class SoftmaxReference {
    private SoftmaxReference() {}

    public static void softmax(Softmax.Along a, Tensor out) {
        normalized(a, false, out);
    }

    public static void logSoftmax(Softmax.Along a, Tensor out) {
        normalized(a, true, out);
    }

    private static Rows rows(Tensor x, int dim) {
        return Rows.of(x.shape(), x.shape().normalize(dim));
    }

    private static void normalized(Softmax.Along a, boolean log, Tensor out) {
        Tensor x = a.x();
        Rows rows = rows(x, a.dim());
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        for (long r = 0; r < rows.count(); r++) {
            double max = max(from, rows, r);
            double sum = sum(from, rows, r, max);
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                double v = from.getDouble(i) - max;
                to.setDouble(i, log ? v - Math.log(sum) : Math.exp(v) / sum);
            }
        }
    }

    public static void logSumExp(Softmax.Along a, Tensor out) {
        Tensor x = a.x();
        Rows rows = rows(x, a.dim());
        Elements to = Elements.of(out);
        Elements from = x.numel() == 0 ? to : Elements.of(x);
        for (long r = 0; r < rows.count(); r++) {
            double max = max(from, rows, r);
            to.setDouble(r, Double.isInfinite(max) ? max : max + Math.log(sum(from, rows, r, max)));
        }
    }

    public static void softmaxBackward(Softmax.BackwardArgs a, Tensor out) {
        Rows rows = rows(a.y(), a.dim());
        Elements g = Elements.of(a.grad());
        Elements p = Elements.of(a.y());
        Elements to = Elements.of(out);
        for (long r = 0; r < rows.count(); r++) {
            double inner = 0;
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                inner += g.getDouble(i) * p.getDouble(i);
            }
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                to.setDouble(i, (g.getDouble(i) - inner) * p.getDouble(i));
            }
        }
    }

    public static void logSoftmaxBackward(Softmax.BackwardArgs a, Tensor out) {
        Rows rows = rows(a.y(), a.dim());
        Elements g = Elements.of(a.grad());
        Elements log = Elements.of(a.y());
        Elements to = Elements.of(out);
        for (long r = 0; r < rows.count(); r++) {
            double sum = 0;
            for (long j = 0; j < rows.length(); j++) {
                sum += g.getDouble(rows.index(r, j));
            }
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                to.setDouble(i, g.getDouble(i) - Math.exp(log.getDouble(i)) * sum);
            }
        }
    }

    private static double max(Elements x, Rows rows, long r) {
        double max = Double.NEGATIVE_INFINITY;
        for (long j = 0; j < rows.length(); j++) {
            max = Math.max(max, x.getDouble(rows.index(r, j)));
        }
        return max;
    }

    private static double sum(Elements x, Rows rows, long r, double max) {
        double sum = 0;
        for (long j = 0; j < rows.length(); j++) {
            sum += Math.exp(x.getDouble(rows.index(r, j)) - max);
        }
        return sum;
    }
}
