// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.ops.StepOp;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * An optimiser whose step is a formula: one call a step for all parameters of a group, in place, on every backend, with
 * masters beside 16-bit parameters. States and settings have the names that the formula gives them, in the state dict too.
 *
 * <pre>{@code
 * try (Optimizer lion = new FormulaOptimizer(model.parameters(), 1e-4, 0, LION, Map.of("beta1", 0.9, "beta2", 0.99))) { … }
 * }</pre>
 */
public class FormulaOptimizer extends Optimizer {
    private final StepOp formula;
    private Map<String, Double> settings;

    /**
     * An optimiser by a formula of one's own.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the learning rate
     * @param weightDecay what the formula calls {@code decay()}
     * @param formula the step
     * @param settings a number for each setting of the formula
     * @throws SchemaException if one is missing, or there is no such setting
     * @throws IllegalArgumentException if one is not finite
     */
    public FormulaOptimizer(
            List<? extends Trainable> params,
            double lr,
            double weightDecay,
            StepOp formula,
            Map<String, Double> settings) {
        this(params, lr, weightDecay, formula, settings, 0);
    }

    /** @param initial what states begin with */
    FormulaOptimizer(
            List<? extends Trainable> params,
            double lr,
            double weightDecay,
            StepOp formula,
            Map<String, Double> settings,
            double initial) {
        super(
                params,
                lr,
                weightDecay,
                Objects.requireNonNull(formula, "formula").states(),
                initial);
        Objects.requireNonNull(settings, "settings");
        Map<String, Double> ordered = new LinkedHashMap<>();
        if (!settings.keySet().equals(Set.copyOf(formula.settings()))) {
            throw new SchemaException(Message.of("optimizer: the settings are not those of the formula")
                    .fact("formula", formula.settings())
                    .fact("given", settings.keySet())
                    .fix("give a number for each."));
        }
        for (String name : formula.settings()) {
            double value = Objects.requireNonNull(settings.get(name), name);
            if (!Double.isFinite(value)) {
                throw new IllegalArgumentException("optimizer: " + name + " " + value + " must be finite");
            }
            ordered.put(name, value);
        }
        String wrong = wrong(ordered);
        if (wrong != null) {
            throw new IllegalArgumentException(kind(formula) + ": " + wrong + ", but are " + ordered);
        }
        this.formula = formula;
        this.settings = ordered;
    }

    /** What is wrong with settings, beside that all must be finite; null if nothing is. Called by the constructor. */
    @Nullable
    String wrong(Map<String, Double> of) {
        return null;
    }

    static boolean isShare(@Nullable Double x) {
        return x != null && x >= 0 && x < 1;
    }

    static boolean isNotNegative(@Nullable Double x) {
        return x != null && x >= 0;
    }

    @Override
    void update(Group group, List<Tensor> grads, Tensor lr, @Nullable Tensor gradScale, @Nullable Tensor skip) {
        step(formula, group, grads, lr, gradScale, skip, List.copyOf(settings.values()));
    }

    /** One step of a group by a formula. */
    static void step(
            StepOp formula,
            Group group,
            List<Tensor> grads,
            Tensor lr,
            @Nullable Tensor gradScale,
            @Nullable Tensor skip,
            List<Number> settings) {
        List<Tensor> states = new ArrayList<>();
        if (!formula.states().isEmpty()) {
            group.states.forEach(states::addAll);
        }
        formula.call(new StepOp.Args(
                group.params,
                grads,
                states,
                group.master,
                group.steps,
                lr,
                gradScale,
                skip,
                group.weightDecay,
                settings));
    }

    @Override
    final String kind() {
        return kind(formula);
    }

    private static String kind(StepOp formula) {
        return formula.op().name();
    }

    @Override
    void putSettings(StateDict into) {
        settings.forEach(into::put);
    }

    @Override
    Runnable readSettings(StateReader in) {
        Map<String, Double> loaded = new LinkedHashMap<>();
        for (String name : settings.keySet()) {
            double value = in.number(name);
            in.require(Double.isFinite(value), name, value + " must be finite");
            loaded.put(name, value);
        }
        String wrong = wrong(loaded);
        if (wrong != null) {
            in.require(false, loaded.keySet().iterator().next(), wrong + ", but are " + loaded);
        }
        return () -> settings = loaded;
    }
}
