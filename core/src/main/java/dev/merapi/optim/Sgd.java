// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.Optimizers;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Stochastic gradient descent, with momentum (Nesterov's or plain) if wanted. */
public final class Sgd extends Optimizer {
    private double momentum;
    private double dampening;
    private boolean nesterov;

    /**
     * Without momentum and decay: p ← p − lr · g.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     */
    public Sgd(List<? extends Trainable> params, double lr) {
        this(params, lr, 0, false, 0);
    }

    /**
     * With momentum, and without dampening, as {@code torch.optim.SGD}.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param momentum μ in v ← μ · v + g and p ← p − lr · v; 0 for none
     * @param nesterov whether the step is g + μ · v instead of v
     * @param weightDecay what times the parameter is added to its gradient
     */
    public Sgd(List<? extends Trainable> params, double lr, double momentum, boolean nesterov, double weightDecay) {
        this(params, lr, momentum, 0, nesterov, weightDecay);
    }

    /**
     * As {@code torch.optim.SGD}: g ← g + weightDecay · p, v ← μ · v + (1 − dampening) · g (at first v ← g), p ← p − lr · v.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param momentum μ, in [0, 1); 0 for none
     * @param dampening how much less than 1 a gradient counts for in v, after a parameter's first step
     * @param nesterov whether the step is g + μ · v instead of v; then there is momentum, and no dampening
     * @param weightDecay what times the parameter is added to its gradient
     * @throws IllegalArgumentException if a number is not as said here
     */
    public Sgd(
            List<? extends Trainable> params,
            double lr,
            double momentum,
            double dampening,
            boolean nesterov,
            double weightDecay) {
        super(params, lr, weightDecay, momentum == 0 ? List.of() : List.of("momentum_buffer"));
        String wrong = wrong(momentum, dampening, nesterov);
        if (wrong != null) {
            throw new IllegalArgumentException("sgd: " + wrong);
        }
        this.momentum = momentum;
        this.dampening = dampening;
        this.nesterov = nesterov;
    }

    private static @Nullable String wrong(double momentum, double dampening, boolean nesterov) {
        if (!(momentum >= 0 && momentum < 1) || nesterov && (momentum == 0 || dampening != 0)) {
            return "momentum " + momentum + " must lie in [0, 1), above 0 for Nesterov, and then dampening " + dampening
                    + " be 0";
        }
        return Double.isFinite(dampening) ? null : "dampening " + dampening + " is not finite";
    }

    /**
     * μ from the next step on, as a schedule cycles it. A step that was captured has it as it was, and is refused.
     *
     * @param momentum in (0, 1)
     * @throws IllegalArgumentException if it is not, or the optimiser was made without momentum
     */
    public void setMomentum(double momentum) {
        if (wrong(momentum, dampening, nesterov) != null || momentum == 0 || this.momentum == 0) {
            throw new IllegalArgumentException("sgd: momentum " + momentum + " after " + this.momentum
                    + ": both must lie in (0, 1)\n  fix: make the optimiser with a momentum.");
        }
        change();
        this.momentum = momentum;
    }

    @Override
    void update(Group group, List<Tensor> grads, Tensor lr, @Nullable Tensor gradScale, @Nullable Tensor skip) {
        Optimizers.SGD.call(new Optimizers.Sgd(
                group.params,
                grads,
                momentum == 0 ? List.of() : group.states.get(0),
                group.master,
                group.steps,
                lr,
                gradScale,
                skip,
                momentum,
                dampening,
                nesterov,
                group.weightDecay));
    }

    @Override
    String kind() {
        return momentum == 0 ? "Sgd" : "Sgd with momentum";
    }

    @Override
    void putSettings(StateDict into) {
        into.put("momentum", momentum).put("dampening", dampening).put("nesterov", nesterov);
    }

    @Override
    Runnable readSettings(StateReader in) {
        double newMomentum = in.number("momentum");
        double newDampening = in.number("dampening");
        boolean newNesterov = in.flag("nesterov");
        String wrong = wrong(newMomentum, newDampening, newNesterov);
        in.require(wrong == null && newMomentum == 0 == (momentum == 0), "momentum", String.valueOf(wrong));
        return () -> {
            momentum = newMomentum;
            dampening = newDampening;
            nesterov = newNesterov;
        };
    }
}
