// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Distances, and the losses that want some of them, or some scores, to be larger than others by a margin. Compositions of
 * other ops, so they have gradients of every order and run on every device. Names, defaults and values are PyTorch's.
 */
public final class MarginLosses {
    private MarginLosses() {}

    // ---------------------------------------------------------------- distances

    /**
     * The cosine of the angle between vectors, from −1 to 1.
     *
     * @param x vectors along {@code dim}
     * @param y others, in a shape that broadcasts with that of x
     * @param dim along which the vectors lie
     * @param eps least length of a vector, so that nothing is divided by 0; 1e-8 in PyTorch
     * @return without {@code dim}
     */
    public static Tensor cosineSimilarity(Tensor x, Tensor y, int dim, double eps) {
        Form.requireNotNegative("cosineSimilarity", "eps", eps);
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(y, "y");
        int[] dims = {dim};
        return Composition.of("cosineSimilarity", () -> {
            Tensor lengths = x.norm(2, dims, true).clampMin(eps);
            Tensor others = y.norm(2, dims, true).clampMin(eps);
            return x.div(lengths).mul(y.div(others)).sum(dim);
        });
    }

    /**
     * ‖x − y + eps‖ₚ of the vectors along the last dimension.
     *
     * @param x [.., D]
     * @param y in a shape that broadcasts with that of x
     * @param p the norm, from 0 to ∞; 2 in PyTorch
     * @param eps added to each difference, so that the gradient of a norm of 0 is never asked for; 1e-6 in PyTorch
     * @param keepDim whether the last dimension stays, with size 1
     * @return the distances, [..] or [.., 1]
     */
    public static Tensor pairwiseDistance(Tensor x, Tensor y, double p, double eps, boolean keepDim) {
        Form.requireNotNegative("pairwiseDistance", "eps", eps);
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(y, "y");
        return Composition.of("pairwiseDistance", () -> x.sub(y).add(eps).norm(p, new int[] {-1}, keepDim));
    }

    /**
     * With the Euclidean norm and an eps of 1e-6.
     *
     * @param x [.., D]
     * @param y in a shape that broadcasts with that of x
     * @return the distances, [..]
     */
    public static Tensor pairwiseDistance(Tensor x, Tensor y) {
        return pairwiseDistance(x, y, 2, 1e-6, false);
    }

    // ---------------------------------------------------------------- of distances

    /**
     * 1 − cos(x, y) for pairs of target 1, max(0, cos(x, y) − margin) for those of target −1.
     *
     * @param x [N, D] or [D]
     * @param y of the same shape
     * @param target [N] or 0-d, 1 or −1
     * @param margin from −1 to 1; 0 in PyTorch
     * @param reduction what becomes of the losses of single elements
     * @return of the shape of the target for NONE, else 0-d
     * @throws ShapeException if shapes do not fit
     */
    public static Tensor cosineEmbeddingLoss(Tensor x, Tensor y, Tensor target, double margin, Reduction reduction) {
        String op = "cosineEmbeddingLoss";
        Form.requireNumber(op, "margin", margin, -1, 1);
        Losses.requireSame(op, "x", x, "y", y);
        Objects.requireNonNull(target, "target");
        if (x.rank() < 1 || x.rank() > 2 || target.rank() != x.rank() - 1) {
            throw new ShapeException(Message.of(op + ": x must be [N, D] and the target [N], or [D] and 0-d")
                    .fact("x", x.describe())
                    .fact("target", target.describe())
                    .fix("reshape them."));
        }
        double eps = 1e-12;
        Tensor squares = x.square().sum(-1).add(eps).mul(y.square().sum(-1).add(eps));
        Tensor cosine = x.mul(y).sum(-1).div(squares.sqrt());
        Tensor near = cosine.rsub(1).where(target.eq(1), 0);
        Tensor far = cosine.sub(margin).clampMin(0).where(target.eq(-1), 0);
        return Losses.reduce(near.add(far), reduction);
    }

    /**
     * max(0, ‖a − p‖ − ‖a − n‖ + margin): an anchor shall be nearer to what is like it than to what is not.
     *
     * @param anchor [.., D], as are the two others
     * @param positive what the anchor shall be near to, of its shape
     * @param negative what it shall be far from, of its shape
     * @param margin positive; 1 in PyTorch
     * @param p the norm; 2 in PyTorch
     * @param swap whether the negative's distance from the positive counts where it is less than that from the anchor
     * @param reduction what becomes of the losses of single elements
     * @return [..] for NONE, else 0-d
     * @throws ShapeException if the three shapes differ
     */
    public static Tensor tripletMarginLoss(
            Tensor anchor,
            Tensor positive,
            Tensor negative,
            double margin,
            double p,
            boolean swap,
            Reduction reduction) {
        String op = "tripletMarginLoss";
        Form.requireNumber(op, "margin", margin, Double.MIN_VALUE, Double.MAX_VALUE);
        Losses.requireSame(op, "anchor", anchor, "positive", positive);
        Losses.requireSame(op, "anchor", anchor, "negative", negative);
        return Composition.of(op, () -> {
            Tensor near = pairwiseDistance(anchor, positive, p, 1e-6, false);
            Tensor far = pairwiseDistance(anchor, negative, p, 1e-6, false);
            if (swap) {
                far = far.minimum(pairwiseDistance(positive, negative, p, 1e-6, false));
            }
            return Losses.reduce(near.sub(far).add(margin).clampMin(0), reduction);
        });
    }

    /**
     * The mean, with a margin of 1 and the Euclidean norm.
     *
     * @param anchor [.., D]
     * @param positive what the anchor shall be near to, of its shape
     * @param negative what it shall be far from, of its shape
     * @return 0-d
     */
    public static Tensor tripletMarginLoss(Tensor anchor, Tensor positive, Tensor negative) {
        return tripletMarginLoss(anchor, positive, negative, 1, 2, false, Reduction.MEAN);
    }

    /**
     * A distance x for pairs of target 1, max(0, margin − x) for those of target −1.
     *
     * @param x distances
     * @param target 1 or −1, of the same shape
     * @param margin finite; 1 in PyTorch
     * @param reduction what becomes of the losses of single elements
     * @return of the shape of x for NONE, else 0-d
     * @throws ShapeException if the shapes differ
     */
    public static Tensor hingeEmbeddingLoss(Tensor x, Tensor target, double margin, Reduction reduction) {
        String op = "hingeEmbeddingLoss";
        Form.requireNumber(op, "margin", margin, -Double.MAX_VALUE, Double.MAX_VALUE);
        Losses.requireSame(op, "x", x, "target", target);
        Tensor near = x.where(target.ne(-1), 0);
        Tensor far = x.rsub(margin).clampMin(0).where(target.ne(1), 0);
        return Losses.reduce(near.add(far), reduction);
    }

    // ---------------------------------------------------------------- of scores

    /**
     * max(0, −target·(x − y) + margin): x shall be larger where the target is 1, y where it is −1.
     *
     * @param x scores
     * @param y others, of the same shape
     * @param target 1 or −1, of the same shape
     * @param margin finite; 0 in PyTorch
     * @param reduction what becomes of the losses of single elements
     * @return of the shape of x for NONE, else 0-d
     * @throws ShapeException if the shapes differ
     */
    public static Tensor marginRankingLoss(Tensor x, Tensor y, Tensor target, double margin, Reduction reduction) {
        String op = "marginRankingLoss";
        Form.requireNumber(op, "margin", margin, -Double.MAX_VALUE, Double.MAX_VALUE);
        Losses.requireSame(op, "x", x, "y", y);
        Losses.requireSame(op, "x", x, "target", target);
        return Losses.reduce(target.neg().mul(x.sub(y)).add(margin).clampMin(0), reduction);
    }

    /**
     * log(1 + exp(−target·x)), for targets of 1 and −1.
     *
     * @param x scores
     * @param target 1 or −1, of the same shape
     * @param reduction what becomes of the losses of single elements
     * @return of the shape of x for NONE, else 0-d
     * @throws ShapeException if the shapes differ
     */
    public static Tensor softMarginLoss(Tensor x, Tensor target, Reduction reduction) {
        Losses.requireSame("softMarginLoss", "x", x, "target", target);
        return Losses.reduce(target.neg().mul(x).softplus(), reduction);
    }

    /**
     * Σ_c max(0, margin − x_t + x_c)ᵖ/C over the classes c other than the target t.
     *
     * @param x scores, [N, C]
     * @param target int64, [N]
     * @param p 1 or 2
     * @param margin finite; 1 in PyTorch
     * @param weight [C], what a target's class counts for; or null
     * @param reduction what becomes of the losses of single elements
     * @return [N] for NONE, else 0-d
     * @throws ShapeException if shapes do not fit
     */
    public static Tensor multiMarginLoss(
            Tensor x, Tensor target, int p, double margin, @Nullable Tensor weight, Reduction reduction) {
        String op = "multiMarginLoss";
        Form.requireNumber(op, "p", p, 1, 2);
        Form.requireNumber(op, "margin", margin, -Double.MAX_VALUE, Double.MAX_VALUE);
        requireTargets(op, x, target, 1);
        Tensor column = target.unsqueeze(1);
        Tensor missed = x.sub(x.gather(1, column)).add(margin).clampMin(0);
        missed = p == 2 ? missed.square() : missed;
        if (weight != null) {
            missed = missed.mul(weight.indexSelect(0, target).unsqueeze(1));
        }
        Tensor own = Tensor.arange(0, x.size(1), 1, DType.INT64, x.device()).eq(column);
        return Losses.reduce(missed.maskedFill(own, 0).sum(1).div(x.size(1)), reduction);
    }

    /**
     * Several classes are right at once: Σ max(0, 1 − (x_t − x_c))/C over the right classes t and the others c.
     *
     * @param x scores, [N, C]
     * @param target int64, [N, C]: the right classes of a row, and then −1; what follows it does not count
     * @param reduction what becomes of the losses of single elements
     * @return [N] for NONE, else 0-d
     * @throws ShapeException if shapes do not fit
     */
    public static Tensor multilabelMarginLoss(Tensor x, Tensor target, Reduction reduction) {
        String op = "multilabelMarginLoss";
        requireTargets(op, x, target, 2);
        Losses.requireSame(op, "x", x, "target", target);
        Tensor counts = target.lt(0).to(DType.INT64).cumsum(1).eq(0);
        Tensor classes = target.clampMin(0);
        Tensor right = Tensor.zeros(x.shape(), DType.INT64, x.device())
                .scatterAdd(1, classes, counts.to(DType.INT64))
                .gt(0);
        Tensor missed =
                x.gather(1, classes).unsqueeze(2).sub(x.unsqueeze(1)).rsub(1).clampMin(0);
        Tensor within = counts.unsqueeze(2).logicalAnd(right.logicalNot().unsqueeze(1));
        return Losses.reduce(missed.where(within, 0).sum(1, 2).div(x.size(1)), reduction);
    }

    /**
     * {@link Losses#BCE_WITH_LOGITS} of several labels at once, as a mean over the classes.
     *
     * @param x logits, [N, C]
     * @param target from 0 to 1, of the same shape
     * @param weight of the classes, [C]; or null
     * @param reduction what becomes of the losses of single elements
     * @return [N] for NONE, else 0-d
     * @throws ShapeException if the shapes differ
     */
    public static Tensor multilabelSoftMarginLoss(
            Tensor x, Tensor target, @Nullable Tensor weight, Reduction reduction) {
        Tensor each = Losses.BCE_WITH_LOGITS.call(x, target, Reduction.NONE);
        return Losses.reduce((weight == null ? each : each.mul(weight)).mean(-1), reduction);
    }

    private static void requireTargets(String op, Tensor x, Tensor target, int rank) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(target, "target");
        if (x.rank() != 2 || target.rank() != rank || target.size(0) != x.size(0)) {
            throw new ShapeException(
                    Message.of(op + ": x must be [N, C] and the target " + (rank == 1 ? "[N]" : "[N, C]"))
                            .fact("x", x.describe())
                            .fact("target", target.describe())
                            .fix("reshape them; unsqueeze(0) makes a batch of one."));
        }
        if (target.dtype() != DType.INT64) {
            throw new DTypeException(op + ": the target must be int64, but is " + target.describe()
                    + "\n  fix: target.to(DType.INT64).");
        }
    }
}
