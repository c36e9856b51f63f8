// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@link Attention} by other ops, with the matrix of weights: where no kernel is, for second derivatives, and, of some
 * queries at a time, for the gradient of a mask.
 */
final class AttentionFormula {
    private AttentionFormula() {}

    /** Weights that are in memory at once when the gradient of a mask is made. */
    private static final long WEIGHTS = 1 << 22;

    static Attention.AttentionResult forward(Attention.Args a) {
        Tensor hidden = hidden(a);
        Tensor scores = scores(a, hidden);
        Tensor p = kept(a, weights(a, scores, hidden));
        Tensor seen = hidden == null ? scores : scores.maskedFill(hidden, Double.NEGATIVE_INFINITY);
        Tensor lse = seen.to(a.q().dtype().computeType()).logSumExp(-1);
        return new Attention.AttentionResult(p.matmul(perQueryHead(a, a.v())), lse);
    }

    static Attention.Gradients gradients(Attention.Args a, Tensor grad) {
        Tensor hidden = hidden(a);
        Tensor p = weights(a, scores(a, hidden), hidden);
        Tensor ds = slopes(a, grad, p, hidden).mul(a.scale());
        return new Attention.Gradients(
                ds.matmul(perQueryHead(a, a.k())),
                perKeyHead(a, ds.transpose(-2, -1).matmul(a.q())),
                perKeyHead(a, kept(a, p).transpose(-2, -1).matmul(grad)));
    }

    /** The gradient of a mask that is added, in its shape. */
    static Tensor maskGradient(Attention.Args a, Tensor grad) {
        Tensor mask = java.util.Objects.requireNonNull(a.mask());
        Shape all = Shape.of(a.q().size(0), a.q().size(1), a.q().size(2), a.k().size(2));
        long row = Math.max(1, all.size(0) * all.size(1) * all.size(3));
        long rows = Math.max(1, WEIGHTS / row);
        boolean perQuery = mask.size(2) == all.size(2);
        List<Tensor> parts = new ArrayList<>();
        for (long from = 0; from < all.size(2); from += rows) {
            long to = Math.min(all.size(2), from + rows);
            Attention.Args some = rows(a, from, to);
            Tensor hidden = hidden(some);
            Tensor p = weights(some, scores(some, hidden), hidden);
            Tensor part = slopes(some, grad.slice(2, from, to), p, hidden);
            for (int d = 0; d < 4; d++) {
                if (mask.size(d) == 1 && (d != 2 || !perQuery)) {
                    part = part.sum(new int[] {d}, true);
                }
            }
            if (perQuery || parts.isEmpty()) {
                parts.add(part);
            } else {
                parts.set(0, parts.get(0).add(part));
            }
        }
        return parts.isEmpty() ? mask.zerosLike() : Tensor.cat(parts, 2);
    }

    /** The same for some of the queries. */
    private static Attention.Args rows(Attention.Args a, long from, long to) {
        Tensor mask =
                a.mask() == null || a.mask().size(2) == 1 ? a.mask() : a.mask().slice(2, from, to);
        long blocks = a.q().size(0) * a.q().size(1) * Attention.blocks(a.k().size(2));
        return new Attention.Args(
                a.q().slice(2, from, to),
                a.k(),
                a.v(),
                mask,
                a.causal(),
                a.reach() + from,
                a.scale(),
                a.dropout(),
                a.seed(),
                a.offset() + from * blocks,
                a.base());
    }

    /** True where a query does not see a key, in a shape that broadcasts; null if all see all. */
    private static @Nullable Tensor hidden(Attention.Args a) {
        Tensor mask = a.mask();
        Tensor hidden = mask == null
                ? null
                : mask.dtype() == DType.BOOL ? mask.logicalNot() : mask.detach().eq(Double.NEGATIVE_INFINITY);
        if (a.causal()) {
            Tensor rows = Reductions.count(a.q(), a.q().size(2)).unsqueeze(1);
            Tensor columns = Reductions.count(a.q(), a.k().size(2)).unsqueeze(0);
            Tensor later = columns.gt(rows.add(a.reach()));
            hidden = hidden == null ? later : hidden.logicalOr(later);
        }
        return hidden;
    }

    private static Tensor scores(Attention.Args a, @Nullable Tensor hidden) {
        Tensor scores = a.q().matmul(perQueryHead(a, a.k()).transpose(-2, -1)).mul(a.scale());
        Tensor mask = a.mask();
        if (mask == null || mask.dtype() == DType.BOOL || hidden == null) {
            return scores;
        }
        return scores.add(mask.maskedFill(mask.detach().eq(Double.NEGATIVE_INFINITY), 0));
    }

    /**
     * The softmax of the scores, 0 where a key is hidden, and in rows without a score above −∞; what is hidden is finite before
     * the softmax, so that no gradient is NaN.
     */
    private static Tensor weights(Attention.Args a, Tensor scores, @Nullable Tensor hidden) {
        Tensor values = scores.detach(); // a node that no gradient comes by would hold the mask until it is collected
        Tensor seen = hidden == null ? values : values.maskedFill(hidden, Double.NEGATIVE_INFINITY);
        Tensor empty = seen.logSumExp(new int[] {-1}, true).eq(Double.NEGATIVE_INFINITY);
        Tensor none = hidden == null ? empty : hidden.logicalOr(empty);
        double low = a.q().dtype() == DType.FLOAT16 ? -6e4 : -1e30;
        return scores.maskedFill(none, low).softmax(-1).maskedFill(none, 0);
    }

    /** The gradient of the scores. */
    private static Tensor slopes(Attention.Args a, Tensor grad, Tensor p, @Nullable Tensor hidden) {
        Tensor dp = kept(a, grad.matmul(perQueryHead(a, a.v()).transpose(-2, -1)));
        if (hidden != null) {
            dp = dp.maskedFill(hidden, 0);
        }
        return dp.sub(p.mul(dp).sum(new int[] {-1}, true)).mul(p);
    }

    /** Each weight, or its gradient, times 0 or 1 / (1 − p); see Note [Dropped weights] in {@link Attention}. */
    private static Tensor kept(Attention.Args a, Tensor weights) {
        if (a.dropout() == 0) {
            return weights;
        }
        long keys = a.k().size(2);
        Shape shape = Shape.of(a.q().size(2), a.q().size(0), a.q().size(1), 4 * Attention.blocks(keys));
        Tensor ones = Tensor.ones(shape, a.q().dtype(), a.q().device());
        Tensor factors = RandomOps.DROPOUT
                .call(new RandomOps.Dropout(ones, a.dropout(), a.seed(), a.offset(), a.base()))
                .output();
        return weights.mul(factors.slice(3, 0, keys).permute(1, 2, 0, 3));
    }

    /** [B, Hk, T, D] → [B, H, T, D]. */
    private static Tensor perQueryHead(Attention.Args a, Tensor x) {
        long group = a.group();
        return group == 1
                ? x
                : x.unsqueeze(2)
                        .expand(x.size(0), x.size(1), group, x.size(2), x.size(3))
                        .reshape(a.q().size(0), a.q().size(1), x.size(2), x.size(3));
    }

    /** [B, H, T, D] → [B, Hk, T, D], summed over the heads that share one. */
    private static Tensor perKeyHead(Attention.Args a, Tensor x) {
        long group = a.group();
        return group == 1
                ? x
                : x.reshape(x.size(0), a.k().size(1), group, x.size(2), x.size(3))
                        .sum(2);
    }
}
