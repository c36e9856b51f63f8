// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;

/**
 * Connectionist temporal classification (Graves and others, 2006): the probability of a sequence of labels, summed over all
 * ways to lay it out over the steps of a longer one, with blanks between. For speech and handwriting, where nobody has said
 * which step belongs to which letter.
 *
 * <p>A composition: one step of the recursion takes a few small ops over all sequences of the batch at once, so that it runs
 * on every device and has gradients of every order. Memory grows with T·N·S. Logarithms of impossible ways are a large
 * negative number and not −∞, whose gradient would be NaN.
 */
public final class Ctc {
    private static final double IMPOSSIBLE = -1e30;

    private Ctc() {}

    /**
     * The loss of each sequence: minus the logarithm of the probability of its labels.
     *
     * @param logProbabilities [T, N, C], as {@code logSoftmax(2)} gives them
     * @param targets int64, [N, S]: labels, of which the first {@code targetLengths} of each row count; none is
     *     {@code blank}
     * @param inputLengths how many of the T steps each sequence has, N numbers
     * @param targetLengths how many labels each sequence has, N numbers from 0 to S
     * @param blank the class that stands for no label; 0 in PyTorch
     * @param reduction MEAN divides each loss by its number of labels (at least 1) first, as PyTorch does
     * @param zeroInfinity whether a sequence with more labels than its steps can hold counts 0, and not ∞; it has no
     *     gradient in either case
     * @return [N] for NONE, else 0-d
     * @throws ShapeException if shapes do not fit, or there are no steps
     * @throws DTypeException if the probabilities are not floating or the targets not int64
     * @throws dev.merapi.error.SchemaException if a length or the blank is out of range
     */
    public static Tensor ctcLoss(
            Tensor logProbabilities,
            Tensor targets,
            long[] inputLengths,
            long[] targetLengths,
            long blank,
            Reduction reduction,
            boolean zeroInfinity) {
        require(logProbabilities, targets, inputLengths, targetLengths, blank);
        long n = logProbabilities.size(1);
        long labels = targets.size(1);
        Tensor steps = Tensor.of(inputLengths).to(logProbabilities.device()).unsqueeze(1);
        Tensor lengths = Tensor.of(targetLengths).to(logProbabilities.device()).unsqueeze(1);

        // States: a blank, a label, a blank, …, a blank. What follows the last label of a row is never reached from its
        // end.
        Tensor counts =
                Tensor.arange(0, labels, 1, DType.INT64, targets.device()).lt(lengths);
        Tensor own = targets.where(counts, blank);
        Tensor states = Tensor.stack(List.of(own.fullLike(blank), own), 2)
                .reshape(n, 2 * labels)
                .pad(blank, 0, 1);
        long s = 2 * labels + 1;
        Tensor skips = states.ne(blank).logicalAnd(states.ne(shifted(states, 2, blank)));
        long t = logProbabilities.size(0);
        Tensor emitted = logProbabilities.gather(2, states.unsqueeze(0).expand(t, n, s));

        Tensor first =
                Tensor.arange(0, s, 1, DType.INT64, targets.device()).lt(2).expand(n, s);
        Tensor alpha = emitted.select(0, 0).where(first, IMPOSSIBLE);
        for (long i = 1; i < t; i++) {
            Tensor skipped = shifted(alpha, 2, IMPOSSIBLE).where(skips, IMPOSSIBLE);
            Tensor ways = Tensor.stack(List.of(alpha, shifted(alpha, 1, IMPOSSIBLE), skipped), 0);
            Tensor next = ways.logSumExp(0).add(emitted.select(0, i));
            alpha = next.where(steps.gt(i), alpha);
        }
        Tensor last = alpha.gather(1, lengths.mul(2));
        Tensor label = alpha.gather(1, lengths.mul(2).sub(1).clampMin(0)).where(lengths.gt(0), IMPOSSIBLE);
        Tensor loss = Tensor.cat(List.of(last, label), 1).logSumExp(1).neg();
        loss = loss.where(loss.lt(-IMPOSSIBLE / 2), zeroInfinity ? 0 : Double.POSITIVE_INFINITY);
        return reduction == Reduction.MEAN
                ? loss.div(lengths.squeeze(1).clampMin(1).to(loss.dtype())).mean()
                : Losses.reduce(loss, reduction);
    }

    /**
     * The mean, with 0 as the blank.
     *
     * @param logProbabilities [T, N, C], as {@code logSoftmax(2)} gives them
     * @param targets int64, [N, S]: labels other than 0
     * @param inputLengths how many of the T steps each sequence has
     * @param targetLengths how many labels each sequence has
     * @return 0-d
     */
    public static Tensor ctcLoss(Tensor logProbabilities, Tensor targets, long[] inputLengths, long[] targetLengths) {
        return ctcLoss(logProbabilities, targets, inputLengths, targetLengths, 0, Reduction.MEAN, false);
    }

    /** What stood so many states before. */
    private static Tensor shifted(Tensor states, long by, Number otherwise) {
        long kept = Math.max(0, states.size(1) - by);
        return states.slice(1, 0, kept).pad(otherwise, states.size(1) - kept, 0);
    }

    private static void require(Tensor x, Tensor targets, long[] inputLengths, long[] targetLengths, long blank) {
        String op = "ctcLoss";
        Objects.requireNonNull(x, "logProbabilities");
        Objects.requireNonNull(targets, "targets");
        Objects.requireNonNull(inputLengths, "inputLengths");
        Objects.requireNonNull(targetLengths, "targetLengths");
        if (x.rank() != 3 || targets.rank() != 2 || targets.size(0) != x.size(1)) {
            throw new ShapeException(Message.of(op + ": log probabilities must be [T, N, C] and targets [N, S]")
                    .fact("logProbabilities", x.describe())
                    .fact("targets", targets.describe())
                    .fix("reshape them; targets of different lengths are padded to the longest."));
        }
        if (targets.dtype() != DType.INT64 || !x.dtype().isFloating()) {
            throw new DTypeException(op + ": takes floating log probabilities and int64 targets, but got "
                    + x.describe() + " and " + targets.describe() + "\n  fix: targets.to(DType.INT64).");
        }
        if (x.size(0) == 0) {
            throw new ShapeException(op + ": there are no steps: logProbabilities " + x.describe());
        }
        Form.requireNumber(op, "blank", blank, 0, x.size(2) - 1.0);
        long n = x.size(1);
        if (inputLengths.length != n || targetLengths.length != n) {
            throw new ShapeException(op + ": needs " + n + " input lengths and target lengths, but got "
                    + inputLengths.length + " and " + targetLengths.length);
        }
        for (int i = 0; i < n; i++) {
            Form.requireNumber(op, "inputLengths[" + i + "]", inputLengths[i], 1, x.size(0));
            Form.requireNumber(op, "targetLengths[" + i + "]", targetLengths[i], 0, targets.size(1));
        }
    }
}
