// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Stochastic gradient descent, with momentum (Nesterov's or plain) if wanted. */
public final class Sgd extends Optimizer {
    private final double momentum;
    private final double dampening;
    private final boolean nesterov;

    public Sgd(List<Tensor> params, double lr) {
        this(params, lr, 0, false, 0);
    }

    public Sgd(List<Tensor> params, double lr, double momentum, boolean nesterov, double weightDecay) {
        this(params, lr, momentum, 0, nesterov, weightDecay);
    }

    /** {@code dampening} is how much less than 1 a gradient counts for in the momentum, after a parameter's first step. */
    public Sgd(
            List<Tensor> params, double lr, double momentum, double dampening, boolean nesterov, double weightDecay) {
        super(params, lr, weightDecay, momentum == 0 ? 0 : 1);
        if (!(momentum >= 0 && momentum < 1) || nesterov && (momentum == 0 || dampening != 0)) {
            throw new IllegalArgumentException("sgd: momentum " + momentum
                    + " must lie in [0, 1), above 0 for Nesterov, and then dampening " + dampening + " be 0");
        }
        if (!Double.isFinite(dampening)) {
            throw new IllegalArgumentException("sgd: dampening " + dampening + " is not finite");
        }
        this.momentum = momentum;
        this.dampening = dampening;
        this.nesterov = nesterov;
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
}
