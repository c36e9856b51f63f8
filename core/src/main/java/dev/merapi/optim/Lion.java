// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.Steps;
import dev.merapi.tensor.Trainable;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Steps by the sign of a mean of gradients: one state beside a parameter, where Adam has two. Rates are 3 to 10 times smaller
 * than AdamW's, weight decays as many times larger.
 *
 * @see <a href="https://arxiv.org/abs/2302.06675">Chen et al. 2023</a>
 */
public final class Lion extends FormulaOptimizer {
    /**
     * β 0.9 and 0.99.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate, such as 1e-4
     * @param weightDecay what times {@code lr} and the parameter is taken from it in each step
     */
    public Lion(List<? extends Trainable> params, double lr, double weightDecay) {
        this(params, lr, 0.9, 0.99, weightDecay);
    }

    /**
     * p ← (1 − lr · weightDecay) · p − lr · sign(β₁ · m + (1 − β₁) · g), m ← β₂ · m + (1 − β₂) · g.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param beta1 what the mean counts for in a step, in [0, 1)
     * @param beta2 decay of the mean of gradients, in [0, 1)
     * @param weightDecay what times {@code lr} and the parameter is taken from it in each step
     * @throws IllegalArgumentException if a number is not as said here
     */
    public Lion(List<? extends Trainable> params, double lr, double beta1, double beta2, double weightDecay) {
        super(params, lr, weightDecay, Steps.LION, Map.of("beta1", beta1, "beta2", beta2));
    }

    @Override
    @Nullable
    String wrong(Map<String, Double> of) {
        return of.values().stream().allMatch(FormulaOptimizer::isShare) ? null : "betas must lie in [0, 1)";
    }
}
