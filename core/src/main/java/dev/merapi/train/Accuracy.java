// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.Objects;

/**
 * How often the right class is among the k with the highest scores, over all batches; counted on the device, and read once.
 *
 * <pre>{@code
 * Accuracy accuracy = new Accuracy();
 * for (Labelled b : test) {
 *     accuracy.add(model.forward(b.inputs()), b.targets());
 * }
 * double value = accuracy.value();
 * }</pre>
 */
public final class Accuracy implements Stateful, AutoCloseable {
    private final int k;
    private final RunningMean right = new RunningMean();

    /** How often the class with the highest score is the right one. */
    public Accuracy() {
        this(1);
    }

    /**
     * How often the right one is among several.
     *
     * @param k how many of the highest scores count, at least 1
     */
    public Accuracy(int k) {
        if (k < 1) {
            throw new IllegalArgumentException("Accuracy: k is " + k + "; at least 1 class is looked at");
        }
        this.k = k;
    }

    /**
     * A batch.
     *
     * @param scores floating [..., C], with C at least k; or, for k = 1, classes of the targets' shape
     * @param targets classes, int32 or int64 [...]
     * @throws ShapeException if they do not fit
     */
    public void add(Tensor scores, Tensor targets) {
        Objects.requireNonNull(scores, "scores");
        Objects.requireNonNull(targets, "targets");
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            if (k == 1) {
                right.add(classes("Accuracy", scores, targets).eq(targets));
                return;
            }
            if (scores.rank() != targets.rank() + 1 || scores.size(-1) < k) {
                throw new ShapeException(Message.of("Accuracy: top " + k + " of scores [..., C] and targets [...]")
                        .fact("scores", scores.describe())
                        .fact("targets", targets.describe())
                        .fix("give scores of " + k + " classes or more for each target."));
            }
            right.add(
                    scores.detach().topk(k).indices().eq(targets.unsqueeze(-1)).any(-1));
        }
    }

    /** Scores [..., C] → the class of the highest; what has the targets' shape and whole numbers is classes already. */
    static Tensor classes(String metric, Tensor scores, Tensor targets) {
        Tensor found = scores.dtype().isFloating() && scores.rank() == targets.rank() + 1
                ? scores.detach().argmax(-1)
                : scores;
        if (found.dtype().isFloating() || !found.shape().equals(targets.shape())) {
            throw new ShapeException(Message.of(metric + ": needs scores [..., C] or classes [...], and targets [...]")
                    .fact("scores", scores.describe())
                    .fact("targets", targets.describe())
                    .fix("flatten both to the same samples, such as scores.view(-1, C) and targets.view(-1)."));
        }
        return found;
    }

    /** {@return a share from 0 to 1; NaN if nothing was added} Waits for the device. */
    public double value() {
        return right.value();
    }

    /** Forgets what was added. */
    public void reset() {
        right.reset();
    }

    @Override
    public StateDict stateDict() {
        return right.stateDict();
    }

    @Override
    public void loadStateDict(StateDict state) {
        right.loadStateDict(state);
    }

    /** Frees the counts. Idempotent. */
    @Override
    public void close() {
        right.close();
    }
}
