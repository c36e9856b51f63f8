// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.StepOp;
import dev.merapi.ops.Steps;
import dev.merapi.tensor.Trainable;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Gradients over the root of the mean of their squares, with momentum and with the variance in place of the mean square if
 * wanted. As {@code torch.optim.RMSprop}.
 *
 * @see <a href="https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf">Tieleman, Hinton 2012</a>
 */
public final class RmsProp extends FormulaOptimizer {
    /**
     * α 0.99, eps 1e-8.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate; PyTorch's default is 1e-2
     */
    public RmsProp(List<? extends Trainable> params, double lr) {
        this(params, lr, 0.99, 1e-8, 0, 0, false);
    }

    /**
     * v ← α · v + (1 − α) · g², p ← p − lr · g / (√v + eps).
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param alpha decay of the mean of squares, in [0, 1)
     * @param eps added to the root, at least 0
     * @param weightDecay what times the parameter is added to its gradient
     * @param momentum μ in b ← μ · b + g / (√v + eps) and p ← p − lr · b, in [0, 1); 0 for none
     * @param centered whether the square of the mean gradient is taken from v
     * @throws IllegalArgumentException if a number is not as said here
     */
    public RmsProp(
            List<? extends Trainable> params,
            double lr,
            double alpha,
            double eps,
            double weightDecay,
            double momentum,
            boolean centered) {
        super(
                params,
                lr,
                weightDecay,
                formula(momentum != 0, centered),
                momentum == 0
                        ? Map.of("alpha", alpha, "eps", eps)
                        : Map.of("alpha", alpha, "eps", eps, "momentum", momentum));
    }

    private static StepOp formula(boolean momentum, boolean centered) {
        if (momentum) {
            return centered ? Steps.RMSPROP_CENTERED_MOMENTUM : Steps.RMSPROP_MOMENTUM;
        }
        return centered ? Steps.RMSPROP_CENTERED : Steps.RMSPROP;
    }

    @Override
    @Nullable
    String wrong(Map<String, Double> of) {
        return isShare(of.get("alpha")) && isShare(of.getOrDefault("momentum", 0.0)) && isNotNegative(of.get("eps"))
                ? null
                : "alpha and momentum must lie in [0, 1), eps must not be negative";
    }
}
