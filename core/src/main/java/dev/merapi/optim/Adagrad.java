// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.Steps;
import dev.merapi.tensor.Trainable;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Steps that shrink with the sum of all squared gradients so far: for sparse features. As {@code torch.optim.Adagrad}.
 *
 * @see <a href="https://jmlr.org/papers/v12/duchi11a.html">Duchi, Hazan, Singer 2011</a>
 */
public final class Adagrad extends FormulaOptimizer {
    /**
     * Without decay; eps 1e-10.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate; PyTorch's default is 1e-2
     */
    public Adagrad(List<? extends Trainable> params, double lr) {
        this(params, lr, 0, 0, 0, 1e-10);
    }

    /**
     * g ← g + weightDecay · p, sum ← sum + g², p ← p − lr / (1 + (t − 1) · lrDecay) · g / (√sum + eps).
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param lrDecay how fast the rate falls with the number of steps, at least 0
     * @param weightDecay what times the parameter is added to its gradient
     * @param initial what sums begin with, at least 0
     * @param eps added to the root, at least 0
     * @throws IllegalArgumentException if a number is not as said here
     */
    public Adagrad(
            List<? extends Trainable> params,
            double lr,
            double lrDecay,
            double weightDecay,
            double initial,
            double eps) {
        super(params, lr, weightDecay, Steps.ADAGRAD, Map.of("lr_decay", lrDecay, "eps", eps), initial);
        if (!(initial >= 0 && Double.isFinite(initial))) {
            throw new IllegalArgumentException("adagrad: the initial sum " + initial + " must not be negative");
        }
    }

    @Override
    @Nullable
    String wrong(Map<String, Double> of) {
        return of.values().stream().allMatch(x -> x >= 0) ? null : "lr_decay and eps must not be negative";
    }
}
