// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.LinearCrossEntropy;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Losses of classes, in float64. */
public final class LossReference {
    private LossReference() {}

    public static void crossEntropy(Losses.CrossEntropy a, Losses.CrossEntropyResult out) {
        int classes = (int) a.logits().size(1);
        long rows = a.logits().size(0);
        long[] targets = targets("crossEntropy", a.targets(), a.ignoreIndex(), classes);
        double total = 0;
        double weights = 0;
        for (long r = 0; r < rows; r++) {
            Elements x = Elements.of(a.logits());
            double max = Double.NEGATIVE_INFINITY;
            for (int c = 0; c < classes; c++) {
                max = Math.max(max, x.getDouble(r * classes + c));
            }
            double sum = 0;
            for (int c = 0; c < classes; c++) {
                sum += Math.exp(x.getDouble(r * classes + c) - max);
            }
            double lse = max + Math.log(sum);
            Elements.of(out.lse()).setDouble(r, lse);
            long target = targets[(int) r];
            double loss = 0;
            if (target != a.ignoreIndex()) {
                double weight = weight(a.weight(), target);
                loss = (1 - a.labelSmoothing()) * weight * (lse - x.getDouble(r * classes + target));
                for (int c = 0; c < classes && a.labelSmoothing() != 0; c++) {
                    loss += a.labelSmoothing() / classes * weight(a.weight(), c) * (lse - x.getDouble(r * classes + c));
                }
                weights += weight;
            }
            if (a.reduction() == Reduction.NONE) {
                Elements.of(out.loss()).setDouble(r, loss);
            }
            total += loss;
        }
        Elements.of(out.totalWeight()).setDouble(0, weights);
        if (a.reduction() != Reduction.NONE) {
            Elements.of(out.loss()).setDouble(0, a.reduction() == Reduction.SUM ? total : total / weights);
        }
    }

    public static void crossEntropyBackward(Losses.CrossEntropyBackward a, Tensor out) {
        int classes = (int) a.logits().size(1);
        long[] targets = targets("cross_entropy_backward", a.targets(), a.ignoreIndex(), classes);
        long rows = a.logits().size(0);
        Elements x = Elements.of(a.logits());
        Elements d = Elements.of(out);
        double total = Elements.of(a.totalWeight()).getDouble(0);
        double allWeights = 0;
        for (int c = 0; c < classes; c++) {
            allWeights += weight(a.weight(), c);
        }
        for (long r = 0; r < rows; r++) {
            long target = targets[(int) r];
            double scale = scale(a.grad(), a.reduction(), r, total);
            double lse = Elements.of(a.lse()).getDouble(r);
            for (int c = 0; c < classes; c++) {
                double v = 0;
                if (target != a.ignoreIndex()) {
                    double p = Math.exp(x.getDouble(r * classes + c) - lse);
                    v = (1 - a.labelSmoothing()) * weight(a.weight(), target) * (p - (c == target ? 1 : 0))
                            + a.labelSmoothing() / classes * (p * allWeights - weight(a.weight(), c));
                    v *= scale;
                }
                d.setDouble(r * classes + c, v);
            }
        }
    }

    public static void nll(Losses.Nll a, Tensor out) {
        int classes = (int) a.logProbabilities().size(1);
        long[] targets = targets("nllLoss", a.targets(), a.ignoreIndex(), classes);
        double total = 0;
        double weights = 0;
        for (long r = 0; r < a.targets().numel(); r++) {
            long target = targets[(int) r];
            double weight = target == a.ignoreIndex() ? 0 : weight(a.weight(), target);
            double loss = target == a.ignoreIndex()
                    ? 0
                    : -weight * Elements.of(a.logProbabilities()).getDouble(r * classes + target);
            if (a.reduction() == Reduction.NONE) {
                Elements.of(out).setDouble(r, loss);
            }
            total += loss;
            weights += weight;
        }
        if (a.reduction() != Reduction.NONE) {
            Elements.of(out).setDouble(0, a.reduction() == Reduction.SUM ? total : total / weights);
        }
    }

    public static void nllBackward(Losses.NllBackward a, Tensor out) {
        int classes = (int) a.logProbabilities().size(1);
        long[] targets = targets("nll_loss_backward", a.targets(), a.ignoreIndex(), classes);
        Elements d = Elements.of(out);
        double total = 0;
        for (long r = 0; r < a.targets().numel(); r++) {
            long target = targets[(int) r];
            total += target == a.ignoreIndex() ? 0 : weight(a.weight(), target);
        }
        for (long r = 0; r < a.targets().numel(); r++) {
            long target = targets[(int) r];
            double scale = scale(a.grad(), a.reduction(), r, total);
            for (int c = 0; c < classes; c++) {
                boolean own = c == target && target != a.ignoreIndex();
                d.setDouble(r * classes + c, own ? -scale * weight(a.weight(), target) : 0);
            }
        }
    }

    private static double scale(Tensor grad, Reduction reduction, long row, double total) {
        double g = Elements.of(grad).getDouble(reduction == Reduction.NONE ? row : 0);
        return reduction == Reduction.MEAN ? g / total : g;
    }

    private static double weight(@Nullable Tensor weight, long c) {
        return weight == null ? 1 : Elements.of(weight).getDouble(c);
    }

    public static void linearCrossEntropy(LinearCrossEntropy.Args a, LinearCrossEntropy.Result out) {
        var checked = targets(
                "linearCrossEntropy", a.targets(), a.ignoreIndex(), a.weight().size(0));
        LinearCrossEntropy.PROGRAM.run(a, out);
    }

    /** The targets, each read once: what is checked here is what is used. */
    private static long[] targets(String op, Tensor targets, long ignoreIndex, long classes) {
        if (targets.numel() == 0) {
            return new long[0];
        }
        Elements e = Elements.of(targets);
        long[] result = new long[Math.toIntExact(targets.numel())];
        for (int r = 0; r < result.length; r++) {
            result[r] = e.getLong(r);
            if ((result[r] < 0 || result[r] >= classes) && result[r] != ignoreIndex) {
                throw targetOutOfRange(op, result[r], r, ignoreIndex, classes).beforeWriting();
            }
        }
        return result;
    }

    /** The error that every backend gives. */
    public static ShapeException targetOutOfRange(String op, long target, long row, long ignoreIndex, long classes) {
        return new ShapeException(
                Message.of(op + ": target " + target + " at row " + row + " is not a class from 0 to " + (classes - 1))
                        .fact("ignoreIndex", ignoreIndex)
                        .fix("targets are class indices; mark rows to leave out with ignoreIndex."));
    }
}
