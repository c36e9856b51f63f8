// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.ops.Ctc;
import dev.merapi.ops.LikelihoodLosses;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.ops.MarginLosses;
import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A loss as a block: it keeps its options, and its weights are buffers, which move and are saved with it, under PyTorch's names.
 * Each is the function of its name in {@link Losses}, {@link MarginLosses}, {@link LikelihoodLosses} or {@link Ctc}, which say
 * what it computes and of which shapes; texts call it as PyTorch does ({@code CrossEntropyLoss}). Without options it is a mean.
 *
 * <pre>{@code
 * Loss loss = Loss.crossEntropy();
 * Autograd.backward(loss.forward(logits, targets));
 * }</pre>
 */
public final class Loss extends Block {
    private final String name;
    private final int inputs;
    private Formula formula = (own, in) -> in[0];

    private interface Formula {
        Tensor of(Loss own, Tensor[] in);
    }

    private Loss(String name, int inputs) {
        this.name = name;
        this.inputs = inputs;
    }

    private static Loss of(String name, int inputs, Formula formula) {
        Loss loss = new Loss(name, inputs);
        loss.formula = formula;
        return loss;
    }

    /** @param weight copied, so that the caller's stays where it is */
    private Loss with(String buffer, @Nullable Tensor weight) {
        if (weight != null) {
            weight.requireOpen(name, buffer);
            buffer(buffer, weight.detach().copy());
        }
        return this;
    }

    private @Nullable Tensor kept(String buffer) {
        return Parameter.of(named().get(buffer));
    }

    private static Reduction given(Reduction reduction) {
        return Objects.requireNonNull(reduction, "reduction");
    }

    private static Tensor reduce(Tensor each, Reduction reduction) {
        return switch (reduction) {
            case NONE -> each;
            case MEAN -> each.mean();
            case SUM -> each.sum();
        };
    }

    /**
     * What the loss is.
     *
     * @param in predictions first, then targets and what else it takes, in PyTorch's order
     * @return 0-d, or one for each element or row without reduction
     * @throws SchemaException if it takes another number of tensors
     */
    public Tensor forward(Tensor... in) {
        Objects.requireNonNull(in, "in");
        if (in.length != inputs) {
            throw new SchemaException(Message.of(name, "forward takes " + inputs + " tensors, but got " + in.length));
        }
        for (Tensor t : in) {
            Objects.requireNonNull(t, "in");
        }
        return formula.of(this, in);
    }

    @Override
    String kind() {
        return name;
    }

    // ---------------------------------------------------------------- of classes

    /**
     * Of logits and classes: {@code (logits, targets)}.
     *
     * @return a new loss
     */
    public static Loss crossEntropy() {
        return crossEntropy(null, -100, 0, Reduction.MEAN);
    }

    /**
     * Of logits and classes: {@code (logits, targets)}. With options.
     *
     * @param weight [C], what each class counts for; or null
     * @param ignoreIndex targets that count for nothing; −100 in PyTorch
     * @param labelSmoothing from 0 to 1
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss crossEntropy(
            @Nullable Tensor weight, long ignoreIndex, double labelSmoothing, Reduction reduction) {
        Reduction how = given(reduction);
        if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
            throw new IllegalArgumentException(
                    "Loss.crossEntropy: labelSmoothing " + labelSmoothing + " does not lie in [0, 1]");
        }
        return of(
                        "CrossEntropyLoss",
                        2,
                        (own, in) -> in[1].dtype().isFloating()
                                ? Losses.crossEntropyOfProbabilities(
                                        in[0], in[1], own.kept("weight"), labelSmoothing, how)
                                : Losses.crossEntropy(
                                        in[0], in[1], own.kept("weight"), ignoreIndex, labelSmoothing, how))
                .with("weight", weight);
    }

    /**
     * Of log probabilities and classes: {@code (logProbabilities, targets)}.
     *
     * @return a new loss
     */
    public static Loss nll() {
        return nll(null, -100, Reduction.MEAN);
    }

    /**
     * Of log probabilities and classes: {@code (logProbabilities, targets)}. With options.
     *
     * @param weight [C], what each class counts for; or null
     * @param ignoreIndex targets that count for nothing; −100 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss nll(@Nullable Tensor weight, long ignoreIndex, Reduction reduction) {
        Reduction how = given(reduction);
        return of("NLLLoss", 2, (own, in) -> Losses.nllLoss(in[0], in[1], own.kept("weight"), ignoreIndex, how))
                .with("weight", weight);
    }

    /**
     * Of sequences: {@code (logProbabilities, targets, inputLengths, targetLengths)}, the lengths int64 [N].
     *
     * @return a new loss
     */
    public static Loss ctc() {
        return ctc(0, Reduction.MEAN, false);
    }

    /**
     * Of sequences: {@code (logProbabilities, targets, inputLengths, targetLengths)}, the lengths int64 [N]. With options.
     *
     * @param blank the class that stands for no label; 0 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @param zeroInfinity whether an impossible sequence counts 0
     * @return a new loss
     */
    public static Loss ctc(long blank, Reduction reduction, boolean zeroInfinity) {
        Reduction how = given(reduction);
        return of(
                "CTCLoss",
                4,
                (own, in) ->
                        Ctc.ctcLoss(in[0], in[1], in[2].toLongArray(), in[3].toLongArray(), blank, how, zeroInfinity));
    }

    // ---------------------------------------------------------------- of numbers

    /**
     * The squared error: {@code (x, y)}.
     *
     * @return a new loss
     */
    public static Loss mse() {
        return mse(Reduction.MEAN);
    }

    /**
     * The squared error: {@code (x, y)}. With options.
     *
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss mse(Reduction reduction) {
        Reduction how = given(reduction);
        return of("MSELoss", 2, (own, in) -> Losses.MSE.call(in[0], in[1], how));
    }

    /**
     * The absolute error: {@code (x, y)}.
     *
     * @return a new loss
     */
    public static Loss l1() {
        return l1(Reduction.MEAN);
    }

    /**
     * The absolute error: {@code (x, y)}. With options.
     *
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss l1(Reduction reduction) {
        Reduction how = given(reduction);
        return of("L1Loss", 2, (own, in) -> Losses.L1.call(in[0], in[1], how));
    }

    /**
     * The absolute error, rounded off below beta: {@code (x, y)}.
     *
     * @return a new loss
     */
    public static Loss smoothL1() {
        return smoothL1(1, Reduction.MEAN);
    }

    /**
     * The absolute error, rounded off below beta: {@code (x, y)}. With options.
     *
     * @param beta finite and not negative; 1 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss smoothL1(double beta, Reduction reduction) {
        Reduction how = given(reduction);
        Init.notNegative("SmoothL1Loss", "beta", beta);
        return of(
                "SmoothL1Loss",
                2,
                (own, in) ->
                        beta == 0 ? Losses.L1.call(in[0], in[1], how) : Losses.SMOOTH_L1.call(in[0], in[1], how, beta));
    }

    /**
     * The squared error near 0, and the absolute one times delta beyond it: {@code (x, y)}.
     *
     * @return a new loss
     */
    public static Loss huber() {
        return huber(1, Reduction.MEAN);
    }

    /**
     * The squared error near 0, and the absolute one times delta beyond it: {@code (x, y)}. With options.
     *
     * @param delta finite and not negative; 1 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss huber(double delta, Reduction reduction) {
        Reduction how = given(reduction);
        Init.notNegative("HuberLoss", "delta", delta);
        return of("HuberLoss", 2, (own, in) -> Losses.HUBER.call(in[0], in[1], how, delta));
    }

    /**
     * Of probabilities and targets from 0 to 1: {@code (probabilities, targets)}.
     *
     * @return a new loss
     */
    public static Loss bce() {
        return bce(null, Reduction.MEAN);
    }

    /**
     * Of probabilities and targets from 0 to 1: {@code (probabilities, targets)}. With options.
     *
     * @param weight of each element, in a shape that broadcasts; or null
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss bce(@Nullable Tensor weight, Reduction reduction) {
        Reduction how = given(reduction);
        return of("BCELoss", 2, (own, in) -> {
                    Tensor w = own.kept("weight");
                    return w == null
                            ? Losses.BINARY_CROSS_ENTROPY.call(in[0], in[1], how)
                            : reduce(
                                    Losses.BINARY_CROSS_ENTROPY
                                            .call(in[0], in[1], Reduction.NONE)
                                            .mul(w),
                                    how);
                })
                .with("weight", weight);
    }

    /**
     * Of logits and targets from 0 to 1: {@code (logits, targets)}.
     *
     * @return a new loss
     */
    public static Loss bceWithLogits() {
        return bceWithLogits(null, null, Reduction.MEAN);
    }

    /**
     * Of logits and targets from 0 to 1: {@code (logits, targets)}. With options.
     *
     * @param weight of each element, in a shape that broadcasts; or null
     * @param positiveWeight what positive targets count for; or null
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss bceWithLogits(@Nullable Tensor weight, @Nullable Tensor positiveWeight, Reduction reduction) {
        Reduction how = given(reduction);
        return of(
                        "BCEWithLogitsLoss",
                        2,
                        (own, in) ->
                                Losses.bceWithLogits(in[0], in[1], own.kept("weight"), own.kept("pos_weight"), how))
                .with("weight", weight)
                .with("pos_weight", positiveWeight);
    }

    /**
     * The Kullback–Leibler divergence over the size of the batch: {@code (logProbabilities, targets)}; PyTorch's
     * {@code batchmean}.
     *
     * @param logTargets whether the targets are logarithms, too
     * @return a new loss
     */
    public static Loss klDiv(boolean logTargets) {
        return of("KLDivLoss", 2, (own, in) -> Losses.klDiv(in[0], in[1], logTargets));
    }

    /**
     * Of counts: {@code (logarithm of what is expected, counts)}.
     *
     * @return a new loss
     */
    public static Loss poissonNll() {
        return poissonNll(true, false, 1e-8, Reduction.MEAN);
    }

    /**
     * Of counts: {@code (logarithm of what is expected, counts)}. With options.
     *
     * @param logInput whether the first is a logarithm; true in PyTorch
     * @param full whether Stirling's term counts; false in PyTorch
     * @param eps keeps the logarithm of 0 away; 1e-8 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss poissonNll(boolean logInput, boolean full, double eps, Reduction reduction) {
        Reduction how = given(reduction);
        Init.notNegative("PoissonNLLLoss", "eps", eps);
        return of(
                "PoissonNLLLoss",
                2,
                (own, in) -> LikelihoodLosses.poissonNllLoss(in[0], in[1], logInput, full, eps, how));
    }

    /**
     * Of numbers around a mean with a variance: {@code (mean, y, variance)}.
     *
     * @return a new loss
     */
    public static Loss gaussianNll() {
        return gaussianNll(false, 1e-6, Reduction.MEAN);
    }

    /**
     * Of numbers around a mean with a variance: {@code (mean, y, variance)}. With options.
     *
     * @param full whether log(2π)/2 counts; false in PyTorch
     * @param eps positive; 1e-6 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss gaussianNll(boolean full, double eps, Reduction reduction) {
        Reduction how = given(reduction);
        Init.notNegative("GaussianNLLLoss", "eps", eps);
        return of(
                "GaussianNLLLoss",
                3,
                (own, in) -> LikelihoodLosses.gaussianNllLoss(in[0], in[1], in[2], full, eps, how));
    }

    // ---------------------------------------------------------------- of distances and scores

    /**
     * Of pairs that shall point the same way or not: {@code (x, y, target)}.
     *
     * @return a new loss
     */
    public static Loss cosineEmbedding() {
        return cosineEmbedding(0, Reduction.MEAN);
    }

    /**
     * Of pairs that shall point the same way or not: {@code (x, y, target)}. With options.
     *
     * @param margin from −1 to 1; 0 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss cosineEmbedding(double margin, Reduction reduction) {
        Reduction how = given(reduction);
        return of(
                "CosineEmbeddingLoss",
                3,
                (own, in) -> MarginLosses.cosineEmbeddingLoss(in[0], in[1], in[2], margin, how));
    }

    /**
     * {@code (anchor, positive, negative)}.
     *
     * @return a new loss
     */
    public static Loss tripletMargin() {
        return tripletMargin(1, 2, false, Reduction.MEAN);
    }

    /**
     * {@code (anchor, positive, negative)}. With options.
     *
     * @param margin positive; 1 in PyTorch
     * @param p the norm; 2 in PyTorch
     * @param swap whether the negative's distance from the positive counts where it is less
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss tripletMargin(double margin, double p, boolean swap, Reduction reduction) {
        Reduction how = given(reduction);
        return of(
                "TripletMarginLoss",
                3,
                (own, in) -> MarginLosses.tripletMarginLoss(in[0], in[1], in[2], margin, p, swap, how));
    }

    /**
     * Of distances, and targets of 1 and −1: {@code (x, target)}.
     *
     * @return a new loss
     */
    public static Loss hingeEmbedding() {
        return hingeEmbedding(1, Reduction.MEAN);
    }

    /**
     * Of distances, and targets of 1 and −1: {@code (x, target)}. With options.
     *
     * @param margin finite; 1 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss hingeEmbedding(double margin, Reduction reduction) {
        Reduction how = given(reduction);
        return of("HingeEmbeddingLoss", 2, (own, in) -> MarginLosses.hingeEmbeddingLoss(in[0], in[1], margin, how));
    }

    /**
     * Of scores of which one shall be larger: {@code (x, y, target)}.
     *
     * @return a new loss
     */
    public static Loss marginRanking() {
        return marginRanking(0, Reduction.MEAN);
    }

    /**
     * Of scores of which one shall be larger: {@code (x, y, target)}. With options.
     *
     * @param margin finite; 0 in PyTorch
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss marginRanking(double margin, Reduction reduction) {
        Reduction how = given(reduction);
        return of(
                "MarginRankingLoss", 3, (own, in) -> MarginLosses.marginRankingLoss(in[0], in[1], in[2], margin, how));
    }

    /**
     * The logistic loss, for targets of 1 and −1: {@code (x, target)}.
     *
     * @return a new loss
     */
    public static Loss softMargin() {
        return softMargin(Reduction.MEAN);
    }

    /**
     * The logistic loss, for targets of 1 and −1: {@code (x, target)}. With options.
     *
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss softMargin(Reduction reduction) {
        Reduction how = given(reduction);
        return of("SoftMarginLoss", 2, (own, in) -> MarginLosses.softMarginLoss(in[0], in[1], how));
    }

    /**
     * A margin between the right class and each other one: {@code (scores, targets)}.
     *
     * @return a new loss
     */
    public static Loss multiMargin() {
        return multiMargin(1, 1, null, Reduction.MEAN);
    }

    /**
     * A margin between the right class and each other one: {@code (scores, targets)}. With options.
     *
     * @param p 1 or 2; 1 in PyTorch
     * @param margin finite; 1 in PyTorch
     * @param weight [C], what a target's class counts for; or null
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss multiMargin(int p, double margin, @Nullable Tensor weight, Reduction reduction) {
        Reduction how = given(reduction);
        return of(
                        "MultiMarginLoss",
                        2,
                        (own, in) -> MarginLosses.multiMarginLoss(in[0], in[1], p, margin, own.kept("weight"), how))
                .with("weight", weight);
    }

    /**
     * Several classes are right at once: {@code (scores, targets)}.
     *
     * @return a new loss
     */
    public static Loss multilabelMargin() {
        return multilabelMargin(Reduction.MEAN);
    }

    /**
     * Several classes are right at once: {@code (scores, targets)}. With options.
     *
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss multilabelMargin(Reduction reduction) {
        Reduction how = given(reduction);
        return of("MultiLabelMarginLoss", 2, (own, in) -> MarginLosses.multilabelMarginLoss(in[0], in[1], how));
    }

    /**
     * Several labels at once, each by its logit: {@code (logits, targets)}.
     *
     * @return a new loss
     */
    public static Loss multilabelSoftMargin() {
        return multilabelSoftMargin(null, Reduction.MEAN);
    }

    /**
     * Several labels at once, each by its logit: {@code (logits, targets)}. With options.
     *
     * @param weight [C], or null
     * @param reduction what becomes of the losses of single elements or rows
     * @return a new loss
     */
    public static Loss multilabelSoftMargin(@Nullable Tensor weight, Reduction reduction) {
        Reduction how = given(reduction);
        return of(
                        "MultiLabelSoftMarginLoss",
                        2,
                        (own, in) -> MarginLosses.multilabelSoftMarginLoss(in[0], in[1], own.kept("weight"), how))
                .with("weight", weight);
    }
}
