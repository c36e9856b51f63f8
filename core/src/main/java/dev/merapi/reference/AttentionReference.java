// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Attention;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;

/** Attention by query, in float64; strides as they come. Pairs that are not seen have no part in anything. */
public final class AttentionReference {
    private AttentionReference() {}

    public static void forward(Attention.Args a, Attention.AttentionResult out) {
        if (a.q().numel() == 0) {
            return;
        }
        Heads q = new Heads(a.q());
        Heads o = new Heads(out.out());
        Heads k = new Heads(a.k());
        Heads v = new Heads(a.v());
        Elements lse = Elements.of(out.lse());
        int width = (int) a.q().size(3);
        long queries = a.q().size(2);
        for (long h = 0; h < a.q().size(0) * a.q().size(1); h++) {
            for (long i = 0; i < queries; i++) {
                double[] p = new double[seen(a, i)];
                double log = probabilities(a, q, k, h, i, p);
                for (int c = 0; c < width; c++) {
                    double sum = 0;
                    for (int j = 0; j < p.length; j++) {
                        sum += p[j] * v.get(h, j, c);
                    }
                    o.set(h, i, c, sum);
                }
                lse.setDouble(h * queries + i, log);
            }
        }
    }

    public static void backward(Attention.BackwardArgs a, Attention.Gradients out) {
        Attention.Args args = new Attention.Args(a.q(), a.k(), a.v(), a.causal(), a.scale());
        int keys = (int) a.k().size(2);
        int width = (int) a.k().size(3);
        long heads = a.q().size(0) * a.q().size(1);
        Heads dq = new Heads(out.q());
        Heads dk = new Heads(out.k());
        Heads dv = new Heads(out.v());
        Heads q = new Heads(a.q());
        Heads k = new Heads(a.k());
        Heads v = new Heads(a.v());
        Heads g = new Heads(a.grad());
        for (long h = 0; h < heads; h++) {
            double[][] sumK = new double[keys][width];
            double[][] sumV = new double[keys][width];
            for (long i = 0; i < a.q().size(2); i++) {
                double[] p = new double[seen(args, i)];
                probabilities(args, q, k, h, i, p);
                double[] dp = new double[p.length];
                double inner = 0;
                for (int j = 0; j < p.length; j++) {
                    for (int c = 0; c < width; c++) {
                        dp[j] += g.get(h, i, c) * v.get(h, j, c);
                        sumV[j][c] += p[j] * g.get(h, i, c);
                    }
                    inner += p[j] * dp[j];
                }
                double[] row = new double[width];
                for (int j = 0; j < p.length; j++) {
                    double ds = p[j] * (dp[j] - inner) * a.scale();
                    for (int c = 0; c < width; c++) {
                        row[c] += ds * k.get(h, j, c);
                        sumK[j][c] += ds * q.get(h, i, c);
                    }
                }
                for (int c = 0; c < width; c++) {
                    dq.set(h, i, c, row[c]);
                }
            }
            for (int j = 0; j < keys; j++) {
                for (int c = 0; c < width; c++) {
                    dk.set(h, j, c, sumK[j][c]);
                    dv.set(h, j, c, sumV[j][c]);
                }
            }
        }
    }

    /** Keys that a query sees: the first so many. */
    private static int seen(Attention.Args a, long i) {
        long keys = a.k().size(2);
        return (int) (a.causal() ? Math.max(0, Math.min(keys, i + keys - a.q().size(2) + 1)) : keys);
    }

    /** The weights of the keys that a query sees; returns the logarithm of the sum of exponentials. */
    private static double probabilities(Attention.Args a, Heads q, Heads k, long h, long i, double[] p) {
        double max = Double.NEGATIVE_INFINITY;
        for (int j = 0; j < p.length; j++) {
            double score = 0;
            for (int c = 0; c < a.q().size(3); c++) {
                score += q.get(h, i, c) * k.get(h, j, c);
            }
            p[j] = score * a.scale();
            max = Math.max(max, p[j]);
        }
        if (max == Double.NEGATIVE_INFINITY) {
            // No key, or no score above −∞: no weight.
            java.util.Arrays.fill(p, 0);
            return max;
        }
        double sum = 0;
        for (int j = 0; j < p.length; j++) {
            p[j] = Math.exp(p[j] - max);
            sum += p[j];
        }
        for (int j = 0; j < p.length; j++) {
            p[j] /= sum;
        }
        return max + Math.log(sum);
    }

    /** [B, H, T, D] with batch and head as one index. */
    private record Heads(Elements elements, Layout layout) {
        Heads(Tensor t) {
            this(Elements.of(t), t.layout());
        }

        private long position(long h, long t, long c) {
            long heads = layout.size(1);
            return h / heads * layout.stride(0)
                    + h % heads * layout.stride(1)
                    + t * layout.stride(2)
                    + c * layout.stride(3);
        }

        double get(long h, long t, long c) {
            return elements.doubleAt(position(h, t, c));
        }

        void set(long h, long t, long c, double value) {
            elements.setDoubleAt(position(h, t, c), value);
        }
    }
}
