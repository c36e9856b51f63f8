// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.Optimizers;
import dev.merapi.ops.StepOp;
import dev.merapi.ops.Steps;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Adam with decoupled weight decay.
 *
 * @see <a href="https://arxiv.org/abs/1711.05101">Loshchilov, Hutter 2017</a>
 */
public final class AdamW extends Optimizer {
    private double beta1;
    private double beta2;
    private double eps;
    private final boolean decoupled;
    private final boolean amsgrad;

    /**
     * β 0.9 and 0.999, eps 1e-8.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param weightDecay what times {@code lr} and the parameter is taken from it in each step
     */
    public AdamW(List<? extends Trainable> params, double lr, double weightDecay) {
        this(params, lr, 0.9, 0.999, 1e-8, weightDecay);
    }

    /**
     * Decoupled weight decay, as Loshchilov and Hutter have it and {@code torch.optim.AdamW}.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param beta1 decay of the mean of gradients, in [0, 1)
     * @param beta2 decay of the mean of their squares, in [0, 1)
     * @param eps added to the root, at least 0
     * @param weightDecay what times {@code lr} and the parameter is taken from it in each step
     * @throws IllegalArgumentException if a number is not as said here
     */
    public AdamW(
            List<? extends Trainable> params, double lr, double beta1, double beta2, double eps, double weightDecay) {
        this(params, lr, beta1, beta2, eps, weightDecay, true, false);
    }

    /**
     * As above, with the largest mean of squares that there was in place of the mean.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param beta1 decay of the mean of gradients, in [0, 1)
     * @param beta2 decay of the mean of their squares, in [0, 1)
     * @param eps added to the root, at least 0
     * @param weightDecay what times {@code lr} and the parameter is taken from it in each step
     * @param amsgrad whether it is so
     * @throws IllegalArgumentException if a number is not as said here
     * @see <a href="https://openreview.net/forum?id=ryQu7f-RZ">Reddi, Kale, Kumar 2018</a>
     */
    public AdamW(
            List<? extends Trainable> params,
            double lr,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            boolean amsgrad) {
        this(params, lr, beta1, beta2, eps, weightDecay, true, amsgrad);
    }

    private AdamW(
            List<? extends Trainable> params,
            double lr,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            boolean decoupled,
            boolean amsgrad) {
        super(params, lr, weightDecay, amsgrad ? Steps.ADAM_AMSGRAD.states() : List.of("exp_avg", "exp_avg_sq"));
        String wrong = wrong(beta1, beta2, eps);
        if (wrong != null) {
            throw new IllegalArgumentException("adam: " + wrong);
        }
        this.beta1 = beta1;
        this.beta2 = beta2;
        this.eps = eps;
        this.decoupled = decoupled;
        this.amsgrad = amsgrad;
    }

    private static @Nullable String wrong(double beta1, double beta2, double eps) {
        return beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1 && eps >= 0 && Double.isFinite(eps)
                ? null
                : "betas " + beta1 + ", " + beta2 + " must lie in [0, 1), eps " + eps + " must not be negative";
    }

    /**
     * Adam as Kingma and Ba published it: weight decay is part of the gradient.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param beta1 decay of the mean of gradients, in [0, 1)
     * @param beta2 decay of the mean of their squares, in [0, 1)
     * @param eps added to the root, at least 0
     * @param weightDecay what times the parameter is added to its gradient
     * @return an optimiser
     * @throws IllegalArgumentException if a number is not as said here
     */
    public static AdamW adam(
            List<? extends Trainable> params, double lr, double beta1, double beta2, double eps, double weightDecay) {
        return new AdamW(params, lr, beta1, beta2, eps, weightDecay, false, false);
    }

    /**
     * As above, with the largest mean of squares that there was in place of the mean.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param beta1 decay of the mean of gradients, in [0, 1)
     * @param beta2 decay of the mean of their squares, in [0, 1)
     * @param eps added to the root, at least 0
     * @param weightDecay what times the parameter is added to its gradient
     * @param amsgrad whether it is so
     * @return an optimiser
     * @throws IllegalArgumentException if a number is not as said here
     */
    public static AdamW adam(
            List<? extends Trainable> params,
            double lr,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            boolean amsgrad) {
        return new AdamW(params, lr, beta1, beta2, eps, weightDecay, false, amsgrad);
    }

    /**
     * β₁ from the next step on, as a schedule cycles it. A step that was captured has it as it was, and is refused.
     *
     * @param beta1 in [0, 1)
     * @throws IllegalArgumentException if it is not
     */
    public void setMomentum(double beta1) {
        if (wrong(beta1, beta2, eps) != null) {
            throw new IllegalArgumentException("AdamW.setMomentum: beta1 " + beta1 + " must lie in [0, 1)");
        }
        change();
        this.beta1 = beta1;
    }

    @Override
    void update(Group group, List<Tensor> grads, Tensor lr, @Nullable Tensor gradScale, @Nullable Tensor skip) {
        if (amsgrad) {
            StepOp step = decoupled ? Steps.ADAMW_AMSGRAD : Steps.ADAM_AMSGRAD;
            FormulaOptimizer.step(step, group, grads, lr, gradScale, skip, List.of(beta1, beta2, eps));
            return;
        }
        Optimizers.ADAM.call(new Optimizers.Adam(
                group.params,
                grads,
                group.states.get(0),
                group.states.get(1),
                group.master,
                group.steps,
                lr,
                gradScale,
                skip,
                beta1,
                beta2,
                eps,
                group.weightDecay,
                decoupled));
    }

    @Override
    String kind() {
        return (decoupled ? "AdamW" : "Adam") + (amsgrad ? " amsgrad" : "");
    }

    @Override
    void putSettings(StateDict into) {
        into.put("beta1", beta1).put("beta2", beta2).put("eps", eps);
    }

    @Override
    Runnable readSettings(StateReader in) {
        double newBeta1 = in.number("beta1");
        double newBeta2 = in.number("beta2");
        double newEps = in.number("eps");
        String wrong = wrong(newBeta1, newBeta2, newEps);
        in.require(wrong == null, "beta1", String.valueOf(wrong));
        return () -> {
            beta1 = newBeta1;
            beta2 = newBeta2;
            eps = newEps;
        };
    }
}
