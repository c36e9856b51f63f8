// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Attention;
import dev.merapi.ops.RandomOps;
import dev.merapi.random.Philox;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Attention by query, in float64; strides as they come. Pairs that are not seen have no part in anything. */
public final class AttentionReference {
    private AttentionReference() {}

    public static void forward(Attention.Args a, Attention.AttentionResult out) {
        if (out.lse().numel() == 0) {
            return;
        }
        Query query = new Query(a);
        Heads o = new Heads(out.out());
        Elements lse = Elements.of(out.lse());
        for (long b = 0; b < a.q().size(0); b++) {
            for (long h = 0; h < a.q().size(1); h++) {
                for (long i = 0; i < query.queries; i++) {
                    double log = query.look(b, h, i);
                    for (int c = 0; c < query.width; c++) {
                        double sum = 0;
                        for (int j = 0; j < query.keys; j++) {
                            if (query.seen[j]) {
                                sum += query.weights[j] * query.kept[j] * query.v.get(b, query.shared(h), j, c);
                            }
                        }
                        o.set(b, h, i, c, sum);
                    }
                    lse.setDouble((b * a.q().size(1) + h) * query.queries + i, log);
                }
            }
        }
    }

    public static void backward(Attention.BackwardArgs args, Attention.Gradients out) {
        Attention.Args a = args.forward();
        if (a.q().numel() == 0 && a.k().numel() == 0) {
            return;
        }
        Query query = new Query(a);
        Heads g = new Heads(args.grad());
        Heads dq = new Heads(out.q());
        Heads dk = new Heads(out.k());
        Heads dv = new Heads(out.v());
        for (long b = 0; b < a.k().size(0); b++) {
            for (long shared = 0; shared < a.k().size(1); shared++) {
                double[][] sumK = new double[query.keys][query.width];
                double[][] sumV = new double[query.keys][query.width];
                for (long h = shared * query.group; h < (shared + 1) * query.group; h++) {
                    for (long i = 0; i < query.queries; i++) {
                        query.look(b, h, i);
                        double[] row = query.gradient(g, sumK, sumV);
                        for (int c = 0; c < query.width; c++) {
                            dq.set(b, h, i, c, row[c]);
                        }
                    }
                }
                for (int j = 0; j < query.keys; j++) {
                    for (int c = 0; c < query.width; c++) {
                        dk.set(b, shared, j, c, sumK[j][c]);
                        dv.set(b, shared, j, c, sumV[j][c]);
                    }
                }
            }
        }
    }

    /** What one query in one head sees, and how much of it. */
    private static final class Query {
        final Attention.Args a;
        final Heads q;
        final Heads k;
        final Heads v;
        final @Nullable Heads mask;
        final long queries;
        final int keys;
        final int width;
        final long group;
        final boolean[] seen;
        final double[] weights;
        final double[] kept; // what they are multiplied by
        private final long offset;
        private long b;
        private long h;
        private long i;

        Query(Attention.Args a) {
            this.a = a;
            q = new Heads(a.q());
            k = new Heads(a.k());
            v = new Heads(a.v());
            mask = a.mask() == null ? null : new Heads(a.mask());
            queries = a.q().size(2);
            keys = Math.toIntExact(a.k().size(2));
            width = Math.toIntExact(a.q().size(3));
            group = a.group();
            seen = new boolean[keys];
            weights = new double[keys];
            kept = new double[keys];
            Arrays.fill(kept, 1);
            offset = a.dropout() == 0 ? 0 : RandomReference.offset(a.offset(), a.base());
        }

        /** The head of keys and values that a head of queries looks at. */
        long shared(long head) {
            return head / group;
        }

        /** Goes on to a query; returns the logarithm of its sum of exponentials. */
        double look(long batch, long head, long at) {
            b = batch;
            h = head;
            i = at;
            double max = Double.NEGATIVE_INFINITY;
            for (int j = 0; j < keys; j++) {
                double added = mask == null ? 0 : mask.broadcast(b, h, i, j);
                boolean isBool = a.mask() != null && a.mask().dtype() == DType.BOOL;
                seen[j] = j <= i + a.reach() && (isBool ? added != 0 : added != Double.NEGATIVE_INFINITY);
                weights[j] = 0;
                if (seen[j]) {
                    double score = 0;
                    for (int c = 0; c < width; c++) {
                        score += q.get(b, h, i, c) * k.get(b, shared(h), j, c);
                    }
                    weights[j] = score * a.scale() + (isBool ? 0 : added);
                    max = Math.max(max, weights[j]);
                }
            }
            if (a.dropout() > 0) {
                drop();
            }
            if (max == Double.NEGATIVE_INFINITY) {
                Arrays.fill(weights, 0); // no key, or no score above −∞: no weight
                return max;
            }
            double sum = 0;
            for (int j = 0; j < keys; j++) {
                if (seen[j]) {
                    weights[j] = Math.exp(weights[j] - max);
                    sum += weights[j];
                }
            }
            for (int j = 0; j < keys; j++) {
                weights[j] /= sum;
            }
            return max + Math.log(sum);
        }

        /** Note [Dropped weights] in {@link Attention}. */
        private void drop() {
            long row = (i * a.q().size(0) + b) * a.q().size(1) + h;
            long first = offset + row * Attention.blocks(keys);
            long threshold = RandomOps.threshold(a.dropout());
            double scale = RandomOps.scale(a.dropout());
            Philox.lanes(a.seed(), first, keys, (j, lane) -> kept[(int) j] = Philox.keep(lane, threshold) ? scale : 0);
        }

        /** The gradient of the query at hand; adds what it gives to those of keys and values. */
        double[] gradient(Heads g, double[][] sumK, double[][] sumV) {
            double[] dp = new double[keys];
            double inner = 0;
            for (int j = 0; j < keys; j++) {
                if (seen[j]) {
                    for (int c = 0; c < width; c++) {
                        dp[j] += g.get(b, h, i, c) * v.get(b, shared(h), j, c);
                        sumV[j][c] += weights[j] * kept[j] * g.get(b, h, i, c);
                    }
                    dp[j] *= kept[j];
                    inner += weights[j] * dp[j];
                }
            }
            double[] row = new double[width];
            for (int j = 0; j < keys; j++) {
                if (seen[j]) {
                    double ds = weights[j] * (dp[j] - inner) * a.scale();
                    for (int c = 0; c < width; c++) {
                        row[c] += ds * k.get(b, shared(h), j, c);
                        sumK[j][c] += ds * q.get(b, h, i, c);
                    }
                }
            }
            return row;
        }
    }

    /** Four dimensions by index. */
    private record Heads(Elements elements, Layout layout) {
        Heads(Tensor t) {
            this(Elements.of(t), t.layout());
        }

        private long position(long b, long h, long t, long c) {
            return b * layout.stride(0) + h * layout.stride(1) + t * layout.stride(2) + c * layout.stride(3);
        }

        double get(long b, long h, long t, long c) {
            return elements.doubleAt(position(b, h, t, c));
        }

        /** That of a dimension of size 1 serves for all. */
        double broadcast(long b, long h, long t, long c) {
            return get(
                    layout.size(0) == 1 ? 0 : b,
                    layout.size(1) == 1 ? 0 : h,
                    layout.size(2) == 1 ? 0 : t,
                    layout.size(3) == 1 ? 0 : c);
        }

        void set(long b, long h, long t, long c, double value) {
            elements.setDoubleAt(position(b, h, t, c), value);
        }
    }
}
