// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.nn.Block;
import dev.merapi.nn.Parameter;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * Exponential moving averages of a model's parameters, which often test better than the parameters themselves. Each {@link #update}
 * makes {@code average = decay · average + (1 − decay) · parameter}, on the parameter's device and in float32 at least; the averages
 * begin as the parameters are when this is made. Buffers are not averaged.
 *
 * <pre>{@code
 * try (Ema ema = new Ema(model, 0.999)) {
 *     …
 *     optimizer.step();
 *     ema.update();
 *     …
 *     try (Ema.Applied averaged = ema.apply()) {
 *         testLoss = test(model); // with the averages
 *     }
 * }
 * }</pre>
 *
 * @see <a href="https://doi.org/10.1137/0330046">Polyak and Juditsky 1992, on averages of the weights of a stochastic descent</a>
 */
public final class Ema implements Stateful, AutoCloseable {
    private final Block model;
    private final double decay;
    private final Map<Parameter, Tensor> averages = new LinkedHashMap<>();
    private boolean applied;

    /**
     * Averages that are what the parameters are now.
     *
     * @param model whose parameters are averaged; it may move to another device or dtype
     * @param decay how much of an average stays at an update, from 0 to below 1
     * @throws IllegalArgumentException for another decay
     */
    public Ema(Block model, double decay) {
        this.model = Objects.requireNonNull(model, "model");
        if (!(decay >= 0 && decay < 1)) {
            throw new IllegalArgumentException("ema: decay " + decay + " does not lie in [0, 1)");
        }
        this.decay = decay;
        try (Autograd.Mode mode = Autograd.noGrad()) {
            for (Parameter p : model.parameters()) {
                Tensor t = p.tensor().detach();
                DType wide = t.dtype().computeType();
                averages.put(p, (t.dtype() == wide ? t.copy() : t.to(wide)).leaveScope());
            }
        }
    }

    /** Takes the parameters of now into the averages; after each step of the optimiser. Nothing is read back. */
    public void update() {
        requireNotApplied("update");
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            for (Parameter p : averages.keySet()) {
                Tensor average = average(p);
                average.lerp_(p.tensor().detach().to(average.dtype()), 1 - decay);
            }
        }
    }

    /** The average of a parameter, moved to where the parameter is. */
    private Tensor average(Parameter p) {
        Tensor average = Objects.requireNonNull(averages.get(p));
        Tensor t = p.tensor();
        if (average.device().equals(t.device()) && average.dtype() == t.dtype().computeType()) {
            return average;
        }
        Tensor moved = average.to(t.dtype().computeType()).to(t.device()).leaveScope();
        averages.put(p, moved);
        average.close();
        return moved;
    }

    /** Until it is closed, the model has the averages. */
    public final class Applied implements AutoCloseable {
        private final Map<Tensor, Tensor> before = new LinkedHashMap<>();

        private Applied() {}

        /** The model has its parameters again. Idempotent. */
        @Override
        public void close() {
            if (before.isEmpty()) {
                return;
            }
            try (Autograd.Mode mode = Autograd.noGrad()) {
                before.forEach((parameter, value) -> {
                    parameter.detach().copy_(value);
                    value.close();
                });
            }
            before.clear();
            applied = false;
        }
    }

    /**
     * Writes the averages to the parameters, to test the model or to save it.
     *
     * @return what gives the parameters back
     * @throws IllegalStateException if that was done before, and is not undone
     */
    public Applied apply() {
        requireNotApplied("apply");
        Applied undo = new Applied();
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            for (Parameter p : averages.keySet()) {
                Tensor t = p.tensor();
                Tensor average = average(p);
                undo.before.put(t, t.detach().copy().leaveScope());
                t.detach().copy_(average);
            }
        }
        applied = !averages.isEmpty();
        return undo;
    }

    private void requireNotApplied(String method) {
        if (applied) {
            throw new IllegalStateException("ema." + method + ": the model has the averages, not its parameters"
                    + "\n  fix: close what apply() returned before.");
        }
    }

    /** {@code decay}, and under {@code parameters.}<em>name</em> the averages themselves, not copies. */
    @Override
    public StateDict stateDict() {
        StateDict all = new StateDict().put("decay", decay);
        model.namedParameters().forEach((name, p) -> {
            if (averages.containsKey(p)) {
                all.put("parameters." + name, average(p));
            }
        });
        return all;
    }

    /**
     * Copies averages in.
     *
     * @throws dev.merapi.error.StateDictException if they are of another decay, or do not fit the model; nothing is changed then
     */
    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("ema", state);
        in.same("decay", decay);
        model.namedParameters().forEach((name, p) -> {
            if (averages.containsKey(p)) {
                in.tensor("parameters." + name, average(p));
            }
        });
        in.copy();
    }

    /** Frees the averages. Idempotent. */
    @Override
    public void close() {
        averages.values().forEach(Tensor::close);
    }
}
