// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.expr.Exprs.log;
import static dev.merapi.expr.Exprs.log1p;
import static dev.merapi.expr.Exprs.max;
import static dev.merapi.expr.Exprs.softplus;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.NamedFunction;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Losses: of classes, fused with their softmax; and of numbers, each an expression that is reduced in the same pass. See
 * Note [Backward ops] in {@link Softmax}. Those that compare distances and scores stand in {@link MarginLosses}, those of
 * counts and of numbers with a variance in {@link LikelihoodLosses}, that of sequences in {@link Ctc}.
 */
public final class Losses {
    private Losses() {}

    /** What becomes of the losses of single elements. */
    public enum Reduction {
        /** They stay as they are, one for each element or row. */
        NONE,
        /** Their mean; of weighted classes, their sum over that of the weights. */
        MEAN,
        /** Their sum. */
        SUM
    }

    // ---------------------------------------------------------------- of classes

    /**
     * What {@link #CROSS_ENTROPY} takes.
     *
     * @param logits [rows, classes], floating
     * @param targets [rows], int64, a class or {@code ignoreIndex}
     * @param weight [classes], of the compute dtype of the logits (float32 for 16 bits), or absent for ones
     * @param ignoreIndex rows with this target count for nothing
     * @param labelSmoothing from 0 to 1: how much of the target is spread over all classes
     * @param reduction what becomes of the losses of single elements
     */
    public record CrossEntropy(
            Tensor logits,
            Tensor targets,
            @Nullable Tensor weight,
            long ignoreIndex,
            double labelSmoothing,
            Reduction reduction) {}

    /**
     * What {@link #CROSS_ENTROPY} gives; all but the loss is internal.
     *
     * @param loss [rows] for NONE, else 0-d, in the compute dtype: 16 bits would not show how a mean improves
     * @param lse log Σ exp(logits) of each row, in the compute dtype
     * @param totalWeight float64: what MEAN divides by
     */
    public record CrossEntropyResult(Tensor loss, Tensor lse, Tensor totalWeight) {}

    /**
     * What the gradient of {@link #CROSS_ENTROPY} is made of: that of the loss, its arguments and its results.
     *
     * @param grad [rows] for NONE, else 0-d, in the compute dtype
     * @param logits as in {@link CrossEntropy}
     * @param targets as in {@link CrossEntropy}
     * @param weight as in {@link CrossEntropy}
     * @param lse as in {@link CrossEntropyResult}
     * @param totalWeight as in {@link CrossEntropyResult}
     * @param ignoreIndex as in {@link CrossEntropy}
     * @param labelSmoothing as in {@link CrossEntropy}
     * @param reduction as in {@link CrossEntropy}
     */
    public record CrossEntropyBackward(
            Tensor grad,
            Tensor logits,
            Tensor targets,
            @Nullable Tensor weight,
            Tensor lse,
            Tensor totalWeight,
            long ignoreIndex,
            double labelSmoothing,
            Reduction reduction) {}

    /** scale·(p·weightOf − (1 − smoothing)·w_t·[t = c] − smoothing/C·w_c), in one pass. */
    public static final Op<CrossEntropyBackward, Tensor> CROSS_ENTROPY_BACKWARD = Op.define(
                    "merapi::cross_entropy_backward", CrossEntropyBackward.class, Tensor.class)
            .shape(a -> Tensor.meta(checkBackward("cross_entropy_backward", a)))
            .compose(a -> {
                DType compute = a.logits().dtype().computeType();
                Tensor x = a.logits().to(compute);
                Tensor lse = Softmax.LOG_SUM_EXP.call(new Softmax.Along(x, 1)).unsqueeze(1);
                Tensor p = x.sub(lse).exp();
                Tensor hit = classes(x).eq(a.targets().unsqueeze(1)).to(compute);
                Tensor valid = a.targets().ne(a.ignoreIndex()).to(compute);
                Tensor own = valid;
                if (a.weight() != null) {
                    own = hit.mul(a.weight()).sum(1).mul(valid);
                }
                Tensor each = switch (a.reduction()) {
                    case NONE -> a.grad().unsqueeze(1);
                    case SUM -> a.grad();
                    case MEAN -> a.grad().div(own.sum());
                };
                Tensor d = p.sub(hit).mul(own.unsqueeze(1)).mul(1 - a.labelSmoothing());
                if (a.labelSmoothing() != 0) {
                    double part = a.labelSmoothing() / x.size(1);
                    Tensor spread = a.weight() == null
                            ? p.mul(x.size(1)).sub(1)
                            : p.mul(a.weight().sum()).sub(a.weight());
                    d = d.add(spread.mul(valid.unsqueeze(1)).mul(part));
                }
                return d.mul(each).to(a.logits().dtype());
            })
            .register();

    /** The same gradient, written over the logits: for those that nobody needs any more. */
    public static final Op<CrossEntropyBackward, Tensor> CROSS_ENTROPY_BACKWARD_INTO = Op.define(
                    "merapi::cross_entropy_backward_", CrossEntropyBackward.class, Tensor.class)
            .mutates("logits")
            .returnsMutated()
            .nonDifferentiable()
            .shape(a -> checkBackward("cross_entropy_backward_", a))
            .register();

    private static Tensor checkBackward(String op, CrossEntropyBackward a) {
        Form.requireNumber(op, "labelSmoothing", a.labelSmoothing(), 0, 1);
        Tensor x = a.logits();
        DType compute = x.dtype().computeType();
        checkClasses(op, x, a.targets(), a.weight(), compute);
        Shape rows = a.targets().shape();
        Form.require(op, "grad", a.grad(), a.reduction() == Reduction.NONE ? rows : Shape.SCALAR, compute);
        Form.require(op, "lse", a.lse(), rows, compute);
        Form.require(op, "totalWeight", a.totalWeight(), Shape.SCALAR, DType.FLOAT64);
        return x;
    }

    /** −log softmax(logits)[target]; see {@link #crossEntropy}. It computes in float32 itself: autocast converts nothing. */
    public static final Op<CrossEntropy, CrossEntropyResult> CROSS_ENTROPY = Op.define(
                    "merapi::cross_entropy", CrossEntropy.class, CrossEntropyResult.class)
            .internal("lse", "totalWeight")
            .shape(a -> {
                Tensor x = a.logits();
                DType compute = x.dtype().computeType();
                checkClasses("merapi::cross_entropy", x, a.targets(), a.weight(), compute);
                Form.requireNumber("crossEntropy", "labelSmoothing", a.labelSmoothing(), 0, 1);
                Shape rows = a.targets().shape();
                return new CrossEntropyResult(
                        Tensor.meta(a.reduction() == Reduction.NONE ? rows : Shape.SCALAR, compute, x.device()),
                        Tensor.meta(rows, compute, x.device()),
                        Tensor.meta(Shape.SCALAR, DType.FLOAT64, x.device()));
            })
            .autograd((a, out) -> new SavedCrossEntropy(a, out.lse(), out.totalWeight()), (context, s, g) -> {
                CrossEntropy a = s.args;
                Tensor none = refuse(context.needs("weight"));
                Tensor room = context.room(a.logits());
                CrossEntropyBackward b = new CrossEntropyBackward(
                        g.loss(),
                        room == null ? a.logits() : room,
                        a.targets(),
                        a.weight(),
                        s.lse,
                        s.totalWeight,
                        a.ignoreIndex(),
                        a.labelSmoothing(),
                        a.reduction());
                return Grads.of("logits", (room == null ? CROSS_ENTROPY_BACKWARD : CROSS_ENTROPY_BACKWARD_INTO).call(b))
                        .and("targets", (Tensor) null)
                        .and("weight", none);
            })
            .register();

    /** What the gradient of {@link #CROSS_ENTROPY} is made of. */
    record SavedCrossEntropy(CrossEntropy args, Tensor lse, Tensor totalWeight) {}

    private static @Nullable Tensor refuse(boolean wanted) {
        if (wanted) {
            throw new dev.merapi.error.GradientException("there is no gradient for the weights of the classes"
                    + "\n  fix: detach() them, or compose the loss of logSoftmax and mul.");
        }
        return null;
    }

    /** 0 … classes − 1 as a row. */
    private static Tensor classes(Tensor logits) {
        return Reductions.count(logits, logits.size(1)).unsqueeze(0);
    }

    private static void checkClasses(String op, Tensor x, Tensor targets, @Nullable Tensor weight, DType weightType) {
        Softmax.requireFloating(op, x);
        if (x.rank() != 2 || targets.rank() != 1 || x.size(0) != targets.size(0)) {
            throw new ShapeException(unfit(op, x, targets));
        }
        requireIndices(op, targets);
        if (weight != null) {
            if (weight.dtype() != weightType) {
                throw new DTypeException(
                        Message.of(op + ": weight must be " + weightType + " for scores of " + x.dtype())
                                .fact("scores", x.describe())
                                .fact("weight", weight.describe())
                                .fix("convert it with to(DType." + weightType.name() + ")."));
            }
            if (weight.rank() != 1 || weight.size(0) != x.size(1)) {
                throw new ShapeException(
                        op + ": weight must be [" + x.size(1) + "], one for each class, but is " + weight.describe());
            }
        }
    }

    /**
     * −log softmax(logits)[target], weighted, smoothed and reduced, in one pass.
     *
     * <p>Shapes: logits [N, C] with targets [N]; [C] with 0-d; or [N, C, d1, ..] with [N, d1, ..] → 0-d, or the shape of
     * the targets for NONE. MEAN divides by the sum of the weights of the targets; over no rows it is NaN. Logits of 16 bits
     * are read as they are, within {@code Autocast} and without; it computes in float32, and the loss is float32.
     *
     * <p>The gradient of the logits is written over them where nobody else can read them, which halves the memory that
     * they take: where every other handle is closed (their own, and a view's), as {@code try (Tensor logits = …)} does, and
     * {@code Autograd.backward} frees the graph.
     *
     * @param logits [N, C], [C] or [N, C, d1, ..], floating
     * @param targets int64; those equal to {@code ignoreIndex} count for nothing
     * @param weight [C], of the dtype of the logits or of float32 where those have 16 bits; or null
     * @param ignoreIndex targets equal to this count for nothing; −100 in PyTorch
     * @param labelSmoothing from 0 to 1: how much of the target is spread over all classes
     * @param reduction what becomes of the losses of single elements
     * @return 0-d, or of the shape of the targets for NONE; float32 of 16-bit logits
     * @throws ShapeException if shapes do not fit, or a target is outside of [0, C)
     * @throws DTypeException if the logits are not floating, or the targets not int64
     */
    public static Tensor crossEntropy(
            Tensor logits,
            Tensor targets,
            @Nullable Tensor weight,
            long ignoreIndex,
            double labelSmoothing,
            Reduction reduction) {
        requireFitting("merapi::cross_entropy", logits, targets);
        Shape shape = targets.shape();
        Tensor wide = weight != null && weight.dtype() == logits.dtype()
                ? weight.to(weight.dtype().computeType())
                : weight;
        Tensor loss = CROSS_ENTROPY
                .call(new CrossEntropy(
                        classesLast(logits, targets),
                        targets.rank() == 1 ? targets : targets.reshape(-1),
                        wide,
                        ignoreIndex,
                        labelSmoothing,
                        reduction))
                .loss();
        return reduction != Reduction.NONE || shape.rank() == 1 ? loss : loss.reshape(shape.toArray());
    }

    /**
     * The mean over all rows whose target is not −100.
     *
     * @param logits [N, C], [C] or [N, C, d1, ..], floating
     * @param targets int64: [N], 0-d or [N, d1, ..]
     * @return 0-d
     */
    public static Tensor crossEntropy(Tensor logits, Tensor targets) {
        return crossEntropy(logits, targets, null, -100, 0, Reduction.MEAN);
    }

    /**
     * {@code crossEntropy(x.linear(weight, bias), targets)} without all of the logits in memory at once: see
     * {@link LinearCrossEntropy}.
     *
     * <p>Shapes: x [.., in], weight [classes, in], bias [classes] or null, targets [..] → 0-d, or the shape of the targets for
     * NONE; of one floating dtype, or as {@code Autocast} makes them. The loss is float32 for 16 bits.
     *
     * @param x [.., in]
     * @param weight [classes, in]
     * @param bias [classes], or null
     * @param targets int64; those equal to {@code ignoreIndex} count for nothing
     * @param ignoreIndex targets equal to this count for nothing
     * @param labelSmoothing from 0 to 1: how much of the target is spread over all classes
     * @param reduction what becomes of the losses of single elements
     * @return 0-d, or of the shape of the targets for NONE; float32 for 16 bits
     * @throws ShapeException if shapes do not fit, or a target is outside of [0, classes)
     */
    public static Tensor linearCrossEntropy(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            Tensor targets,
            long ignoreIndex,
            double labelSmoothing,
            Reduction reduction) {
        return LinearCrossEntropy.call(x, weight, bias, targets, ignoreIndex, labelSmoothing, reduction);
    }

    /**
     * The mean over all rows whose target is not −100.
     *
     * @param x [.., in], floating
     * @param weight [classes, in]
     * @param bias [classes], or null
     * @param targets int64, [..]
     * @return 0-d
     */
    public static Tensor linearCrossEntropy(Tensor x, Tensor weight, @Nullable Tensor bias, Tensor targets) {
        return linearCrossEntropy(x, weight, bias, targets, -100, 0, Reduction.MEAN);
    }

    /** What the op checks of rows, here of the caller's sizes: see {@link #crossEntropy}. */
    private static void requireFitting(String op, Tensor scores, Tensor targets) {
        Objects.requireNonNull(scores, "scores").requireOpen(op, "scores");
        Objects.requireNonNull(targets, "targets").requireOpen(op, "targets");
        Softmax.requireFloating(op, scores);
        boolean fits = scores.rank() == 1
                ? targets.rank() == 0
                : scores.rank() > 1 && scores.shape().without(1).equals(targets.shape());
        if (!fits) {
            throw new ShapeException(unfit(op, scores, targets));
        }
        requireIndices(op, targets);
    }

    private static Message unfit(String op, Tensor scores, Tensor targets) {
        return Message.of(op, "scores must be [N, C], or [N, C, d1, ..], and targets [N], or [N, d1, ..]")
                .fact("scores", scores.describe())
                .fact("targets", targets.describe())
                .fix("with classes last: scores.reshape(-1, C) and targets.reshape(-1).");
    }

    static void requireIndices(String op, Tensor targets) {
        if (targets.dtype() != DType.INT64) {
            throw new DTypeException(
                    Message.of(op, "targets must be int64 class indices, but are " + targets.describe())
                            .argument("targets")
                            .fix("convert with to(DType.INT64)."));
        }
    }

    /** [N, C, d1, ..] as [N·d1·.., C]. */
    private static Tensor classesLast(Tensor scores, Tensor targets) {
        return switch (scores.rank()) {
            case 1 -> scores.unsqueeze(0);
            case 2 -> scores;
            default -> scores.moveDim(1, -1).reshape(targets.numel(), scores.size(1));
        };
    }

    // ---------------------------------------------------------------- of log probabilities

    /**
     * What {@link #NLL_LOSS} takes.
     *
     * @param logProbabilities [rows, classes], floating
     * @param targets [rows], int64, a class or {@code ignoreIndex}
     * @param weight [classes], of the dtype of the logarithms; or absent for ones
     * @param ignoreIndex rows with this target count for nothing
     * @param reduction what becomes of the losses of single elements
     */
    public record Nll(
            Tensor logProbabilities,
            Tensor targets,
            @Nullable Tensor weight,
            long ignoreIndex,
            Reduction reduction) {}

    /**
     * What the gradient of {@link #NLL_LOSS} is made of.
     *
     * @param grad [rows] for NONE, else 0-d
     * @param logProbabilities as in {@link Nll}
     * @param targets as in {@link Nll}
     * @param weight as in {@link Nll}
     * @param ignoreIndex as in {@link Nll}
     * @param reduction as in {@link Nll}
     */
    public record NllBackward(
            Tensor grad,
            Tensor logProbabilities,
            Tensor targets,
            @Nullable Tensor weight,
            long ignoreIndex,
            Reduction reduction) {}

    /**
     * The gradient of the log probabilities, [rows, classes]: −weight at the target of each row, 0 elsewhere, times
     * {@code grad}.
     */
    public static final Op<NllBackward, Tensor> NLL_LOSS_BACKWARD = Op.define(
                    "merapi::nll_loss_backward", NllBackward.class, Tensor.class)
            .shape(a -> {
                String op = "nll_loss_backward";
                Tensor x = a.logProbabilities();
                checkClasses(op, x, a.targets(), a.weight(), x.dtype());
                Form.require(
                        op,
                        "grad",
                        a.grad(),
                        a.reduction() == Reduction.NONE ? a.targets().shape() : Shape.SCALAR,
                        x.dtype());
                return Tensor.meta(x);
            })
            .compose(a -> {
                DType dtype = a.logProbabilities().dtype();
                Tensor target = a.targets().unsqueeze(1);
                Tensor hit = classes(a.logProbabilities())
                        .eq(target)
                        .logicalAnd(target.ne(a.ignoreIndex()))
                        .to(dtype);
                Tensor own = a.weight() == null ? hit : hit.mul(a.weight());
                return own.mul(
                        switch (a.reduction()) {
                            case NONE -> a.grad().neg().unsqueeze(1);
                            case SUM -> a.grad().neg();
                            case MEAN -> a.grad().neg().div(own.sum());
                        });
            })
            .register();

    /** −weight·logProbabilities[target]; see {@link #nllLoss}. */
    public static final Op<Nll, Tensor> NLL_LOSS = Op.define("merapi::nll_loss", Nll.class, Tensor.class)
            .shape(a -> {
                checkClasses(
                        "merapi::nll_loss",
                        a.logProbabilities(),
                        a.targets(),
                        a.weight(),
                        a.logProbabilities().dtype());
                return Tensor.meta(
                        a.logProbabilities(),
                        a.reduction() == Reduction.NONE ? a.targets().shape() : Shape.SCALAR);
            })
            .compose(a -> {
                DType dtype = a.logProbabilities().dtype();
                Tensor target = a.targets().unsqueeze(1);
                Tensor hit = classes(a.logProbabilities()).eq(target).logicalAnd(target.ne(a.ignoreIndex()));
                Tensor own = a.weight() == null ? hit.to(dtype) : a.weight().where(hit, 0);
                Tensor losses =
                        a.logProbabilities().where(hit, 0).mul(own).neg().sum(1);
                return switch (a.reduction()) {
                    case NONE -> losses;
                    case SUM -> losses.sum();
                    case MEAN -> losses.sum().div(own.sum());
                };
            })
            .autograd(
                    (a, out) -> a,
                    (context, a, g) -> Grads.of(
                                    "logProbabilities",
                                    NLL_LOSS_BACKWARD.call(new NllBackward(
                                            g,
                                            a.logProbabilities(),
                                            a.targets(),
                                            a.weight(),
                                            a.ignoreIndex(),
                                            a.reduction())))
                            .and("targets", (Tensor) null)
                            .and("weight", refuse(context.needs("weight"))))
            .autocast(CastPolicy.FLOAT32)
            .register();

    /**
     * −weight[target]·logProbabilities[target]: cross entropy after a logSoftmax of one's own. Gradient: log
     * probabilities, to any order.
     *
     * @param logProbabilities [N, C], [C] or [N, C, d1, ..], floating
     * @param targets int64: [N], 0-d or [N, d1, ..]
     * @param weight [C], of the dtype of the logarithms; or null for ones
     * @param ignoreIndex targets equal to this count for nothing; −100 in PyTorch
     * @param reduction what becomes of the losses of single elements; MEAN divides by the sum of the weights of the
     *     targets
     * @return 0-d, or of the shape of the targets for NONE
     * @throws ShapeException if shapes do not fit, or a target is outside of [0, C)
     * @throws DTypeException if the logarithms are not floating, or the targets not int64
     */
    public static Tensor nllLoss(
            Tensor logProbabilities, Tensor targets, @Nullable Tensor weight, long ignoreIndex, Reduction reduction) {
        requireFitting("merapi::nll_loss", logProbabilities, targets);
        Shape shape = targets.shape();
        Tensor loss = NLL_LOSS.call(new Nll(
                classesLast(logProbabilities, targets),
                targets.rank() == 1 ? targets : targets.reshape(-1),
                weight,
                ignoreIndex,
                reduction));
        return reduction != Reduction.NONE || shape.rank() == 1 ? loss : loss.reshape(shape.toArray());
    }

    // ---------------------------------------------------------------- of numbers

    /** (x − y)². */
    public static final PairLoss MSE =
            PairLoss.define("merapi::mse_loss", (x, y) -> x.sub(y).square());

    /** |x − y|. */
    public static final PairLoss L1 =
            PairLoss.define("merapi::l1_loss", (x, y) -> x.sub(y).abs());

    /** Of its two terms neither cancels the other; nor do those of its slope, σ(x) − y. */
    private static final NamedFunction BCE = NamedFunction.define(
            "bce_with_logits",
            2,
            a -> {
                Expr x = a.get(0);
                Expr y = a.get(1);
                Expr missed = x.gt(0).select(Expr.constant(1).sub(y), y);
                return x.abs().mul(missed).add(softplus(x.abs().neg()));
            },
            (a, loss, g) -> {
                Expr x = a.get(0);
                Expr y = a.get(1);
                Expr slope = x.gt(0)
                        .select(
                                Expr.constant(1).sub(y).sub(x.neg().sigmoid()),
                                x.sigmoid().sub(y));
                return List.of(g.mul(slope), g.mul(x).neg());
            });

    /** −y·log σ(x) − (1 − y)·log(1 − σ(x)), for logits x and probabilities y, without overflow or cancellation. */
    public static final PairLoss BCE_WITH_LOGITS = PairLoss.define("merapi::bce_with_logits", (x, y) -> BCE.call(x, y));

    /** (x − y)²/2 near 0, δ·(|x − y| − δ/2) from |x − y| = δ on. */
    public static final PairLoss HUBER = PairLoss.define(
            "merapi::huber_loss",
            (x, y, delta) -> {
                Expr d = x.sub(y).abs();
                return d.lt(delta).select(d.square().mul(0.5), delta.mul(d.sub(delta.mul(0.5))));
            },
            Param.scalar("delta"));

    /** Logarithms of 0 count as −100, as in PyTorch, so that a loss stays finite. */
    private static final double LEAST_LOG = -100;

    private static final NamedFunction BCE_OF_PROBABILITIES = NamedFunction.define(
            "binary_cross_entropy",
            2,
            a -> {
                Expr x = a.get(0);
                Expr y = a.get(1);
                Expr missed = Expr.constant(1).sub(y).mul(max(log1p(x.neg()), LEAST_LOG));
                return y.mul(max(log(x), LEAST_LOG)).add(missed).neg();
            },
            (a, loss, g) -> {
                Expr x = a.get(0);
                Expr y = a.get(1);
                Expr scale = max(x.mul(Expr.constant(1).sub(x)), 1e-12);
                Expr slope = max(log1p(x.neg()), LEAST_LOG).sub(max(log(x), LEAST_LOG));
                return List.of(g.mul(x.sub(y)).div(scale), g.mul(slope));
            });

    /** −y·log x − (1 − y)·log(1 − x), for probabilities x and y; of logits {@link #BCE_WITH_LOGITS} is more exact. */
    public static final PairLoss BINARY_CROSS_ENTROPY =
            PairLoss.define("merapi::binary_cross_entropy", (x, y) -> BCE_OF_PROBABILITIES.call(x, y));

    /** (x − y)²/(2β) near 0, |x − y| − β/2 from |x − y| = β on; β must be positive. */
    public static final PairLoss SMOOTH_L1 = PairLoss.define(
            "merapi::smooth_l1_loss",
            (x, y, beta) -> {
                Expr d = x.sub(y).abs();
                return d.lt(beta).select(d.square().mul(0.5).div(beta), d.sub(beta.mul(0.5)));
            },
            Param.scalar("beta"));

    /** y·(log y − x), for log probabilities x and probabilities y; 0 where y is 0. */
    public static final PairLoss KL_DIV = PairLoss.define(
            "merapi::kl_div",
            (x, y) -> y.eq(0).select(Expr.constant(0), y.mul(log(y))).sub(y.mul(x)));

    /**
     * The mean of (x − y)²; other reductions by {@link #MSE}.
     *
     * @param x predictions
     * @param y targets, of the same shape
     * @return 0-d, floating
     * @throws ShapeException if the shapes differ
     */
    public static Tensor mseLoss(Tensor x, Tensor y) {
        return MSE.call(x, y, Reduction.MEAN);
    }

    /**
     * The mean of |x − y|; other reductions by {@link #L1}.
     *
     * @param x predictions
     * @param y targets, of the same shape
     * @return 0-d, floating
     * @throws ShapeException if the shapes differ
     */
    public static Tensor l1Loss(Tensor x, Tensor y) {
        return L1.call(x, y, Reduction.MEAN);
    }

    /**
     * The mean of {@link #BCE_WITH_LOGITS}, PyTorch's {@code binary_cross_entropy_with_logits}.
     *
     * @param logits any numbers
     * @param probabilities targets from 0 to 1, of the same shape
     * @return 0-d, floating
     * @throws ShapeException if the shapes differ
     */
    public static Tensor bceWithLogits(Tensor logits, Tensor probabilities) {
        return BCE_WITH_LOGITS.call(logits, probabilities, Reduction.MEAN);
    }

    /**
     * The mean of {@link #HUBER}.
     *
     * @param x predictions
     * @param y targets, of the same shape
     * @param delta where the square becomes a line, not negative; 1 in PyTorch
     * @return 0-d, floating
     * @throws ShapeException if the shapes differ
     * @throws dev.merapi.error.SchemaException if delta is negative or not finite
     */
    public static Tensor huberLoss(Tensor x, Tensor y, double delta) {
        Form.requireNotNegative("huberLoss", "delta", delta);
        return HUBER.call(x, y, Reduction.MEAN, delta);
    }

    /**
     * The cross entropy of probabilities, such as a sigmoid's; see {@link #BINARY_CROSS_ENTROPY}.
     *
     * @param probabilities from 0 to 1
     * @param targets from 0 to 1, of the same shape
     * @return the mean, 0-d
     */
    public static Tensor bceLoss(Tensor probabilities, Tensor targets) {
        return BINARY_CROSS_ENTROPY.call(probabilities, targets, Reduction.MEAN);
    }

    /**
     * {@link #bceWithLogits(Tensor, Tensor)} with weights.
     *
     * @param logits any numbers
     * @param probabilities targets from 0 to 1, of the same shape
     * @param weight of each element, in a shape that broadcasts to that of the logits; or null
     * @param positiveWeight what positive targets count for, {@code [.., C]} for C classes; or null
     * @param reduction what becomes of the losses of single elements; MEAN divides by their number, whatever the
     *     weights
     * @return of the shape of the logits for NONE, else 0-d
     * @throws ShapeException if logits and probabilities differ in shape
     */
    public static Tensor bceWithLogits(
            Tensor logits,
            Tensor probabilities,
            @Nullable Tensor weight,
            @Nullable Tensor positiveWeight,
            Reduction reduction) {
        requireSame("bceWithLogits", "logits", logits, "probabilities", probabilities);
        if (weight == null && positiveWeight == null) {
            return BCE_WITH_LOGITS.call(logits, probabilities, reduction);
        }
        Tensor each;
        if (positiveWeight == null) {
            each = BCE_WITH_LOGITS.call(logits, probabilities, Reduction.NONE);
        } else { // −p·y·log σ(x) − (1 − y)·log σ(−x)
            Tensor hit = probabilities.mul(positiveWeight).mul(logits.logSigmoid());
            Tensor missed = probabilities.rsub(1).mul(logits.neg().logSigmoid());
            each = hit.add(missed).neg();
        }
        return reduce(weight == null ? each : each.mul(weight), reduction);
    }

    /**
     * The absolute error, rounded off below {@code beta} ({@link #SMOOTH_L1}); for 0 it is {@link #L1}.
     *
     * @param x predictions
     * @param y targets, of the same shape
     * @param beta finite and not negative; 1 in PyTorch
     * @return the mean, 0-d
     * @throws ShapeException if the shapes differ
     * @throws dev.merapi.error.SchemaException if beta is negative or not finite
     */
    public static Tensor smoothL1Loss(Tensor x, Tensor y, double beta) {
        Form.requireNotNegative("smoothL1Loss", "beta", beta);
        return beta == 0 ? L1.call(x, y, Reduction.MEAN) : SMOOTH_L1.call(x, y, Reduction.MEAN, beta);
    }

    /**
     * The Kullback–Leibler divergence of log probabilities from targets, {@code Σ y·(log y − x)}, over the size of the first
     * dimension: what PyTorch calls {@code batchmean}, and what the divergence of a batch is. Other reductions, which have
     * no such meaning, by {@link #KL_DIV}.
     *
     * @param logProbabilities x, [B, ..]
     * @param targets probabilities y of the same shape, or their logarithms
     * @param logTargets whether the targets are logarithms
     * @return 0-d
     */
    public static Tensor klDiv(Tensor logProbabilities, Tensor targets, boolean logTargets) {
        Tensor sum = logTargets
                ? targets.exp().mul(targets.sub(logProbabilities)).sum()
                : KL_DIV.call(logProbabilities, targets, Reduction.SUM);
        return sum.div(logProbabilities.rank() == 0 ? 1 : logProbabilities.size(0));
    }

    /**
     * Cross entropy with a distribution over the classes as the target of each row: for mixed labels, and for a student
     * that learns from a teacher. −Σ_c w_c·y_c·log softmax(x)_c.
     *
     * @param logits [N, C, d…] or [C]
     * @param targets probabilities of the same shape
     * @param weight [C], or null for ones
     * @param labelSmoothing from 0 to 1: how much of the target is spread over all classes
     * @param reduction what becomes of the losses of single elements
     * @return [N, d…] for NONE, else 0-d; MEAN divides by the number of rows, whatever their weights
     * @throws ShapeException if shapes do not fit
     */
    public static Tensor crossEntropyOfProbabilities(
            Tensor logits, Tensor targets, @Nullable Tensor weight, double labelSmoothing, Reduction reduction) {
        String op = "crossEntropyOfProbabilities";
        Form.requireNumber(op, "labelSmoothing", labelSmoothing, 0, 1);
        requireSame(op, "logits", logits, "targets", targets);
        if (logits.rank() == 0) {
            throw new ShapeException(op + ": logits must be [C] or [N, C, ..], but are " + logits.describe());
        }
        int dim = logits.rank() == 1 ? 0 : 1;
        Tensor y = targets;
        if (labelSmoothing != 0) {
            y = y.mul(1 - labelSmoothing).add(labelSmoothing / logits.size(dim));
        }
        if (weight != null) {
            long[] along = new long[logits.rank()];
            Arrays.fill(along, 1);
            along[dim] = logits.size(dim);
            Form.require(op, "weight", weight, Shape.of(logits.size(dim)), weight.dtype());
            y = y.mul(weight.reshape(along));
        }
        return reduce(y.mul(logits.logSoftmax(dim)).sum(dim).neg(), reduction);
    }

    /** For losses that are compositions. */
    static Tensor reduce(Tensor each, Reduction reduction) {
        return switch (Objects.requireNonNull(reduction, "reduction")) {
            case NONE -> each;
            case MEAN -> each.mean();
            case SUM -> each.sum();
        };
    }

    /** @throws ShapeException if two tensors differ in shape: broadcasting in a loss is nearly always a mistake */
    static void requireSame(String op, String left, Tensor x, String right, Tensor y) {
        Objects.requireNonNull(x, left);
        Objects.requireNonNull(y, right);
        if (!x.shape().equals(y.shape())) {
            throw new ShapeException(Message.of(op + ": shapes differ: " + x.shape() + " and " + y.shape())
                    .fact(left, x.describe())
                    .fact(right, y.describe())
                    .fix("reshape one of them; expand it if broadcasting is meant."));
        }
    }
}
