// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.ops.code.StepCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * An optimiser's step that is stated as a formula of one element; all backends compile it, and one call steps any number of
 * parameters, in place:
 *
 * <pre>{@code
 * static final StepOp LION = StepOp.define("demo::lion_", List.of("exp_avg"), List.of("beta1", "beta2"), s -> {
 *     Expr m = s.state("exp_avg"), g = s.gradient();
 *     Expr moved = m.mul(s.setting("beta1")).add(g.mul(s.setting("beta1").neg().add(1.0)));
 *     Expr kept = m.mul(s.setting("beta2")).add(g.mul(s.setting("beta2").neg().add(1.0)));
 *     return List.of(s.parameter().sub(s.rate().mul(moved.sign())), kept);
 * });
 * }</pre>
 *
 * <p>Elements are computed in the parameters' compute dtype: float32 for float32 and 16 bits, float64 for float64. What is
 * calculated of rate, step, decay and settings alone is calculated in float64, and not for each element.
 * {@code FormulaOptimizer} makes an optimiser of it.
 */
public final class StepOp {
    /** What a formula is made of. */
    public static final class Operands {
        private final StepCode.Variables variables;
        private final List<String> states;
        private final List<String> settings;

        private Operands(StepCode.Variables variables, List<String> states, List<String> settings) {
            this.variables = variables;
            this.states = states;
            this.settings = settings;
        }

        /** {@return the parameter, or its master} */
        public Expr parameter() {
            return variables.parameter();
        }

        /** {@return the gradient, which has been scaled} */
        public Expr gradient() {
            return variables.gradient();
        }

        /**
         * What the optimiser keeps for each element.
         *
         * @param name one of those that {@link #define} was given
         * @return its value before the step
         */
        public Expr state(String name) {
            return variables.states().get(index("state", states, name));
        }

        /**
         * A number that is the same for all elements.
         *
         * @param name one of those that {@link #define} was given
         * @return the setting, in float64
         */
        public Expr setting(String name) {
            return variables.scalars().get(index("setting", settings, name));
        }

        /** {@return the weight decay, in float64} */
        public Expr decay() {
            return variables.scalars().get(settings.size());
        }

        /** {@return the learning rate, in float64} */
        public Expr rate() {
            return variables.scalars().get(settings.size() + 1);
        }

        /** {@return which step of the parameter this is, from 1, in float64} */
        public Expr step() {
            return variables.scalars().get(settings.size() + 2);
        }

        private static int index(String what, List<String> names, String name) {
            int at = names.indexOf(Objects.requireNonNull(name, "name"));
            if (at < 0) {
                throw new SchemaException(Message.of("step formula: there is no " + what + " '" + name + "'")
                        .fact("there are", names)
                        .fix("use one of them, or name it in define."));
            }
            return at;
        }
    }

    /**
     * One step. What changes from step to step is read from tensors when the kernel runs, so that a captured graph does not
     * freeze it.
     *
     * @param params of one floating dtype
     * @param grads of the shapes of the parameters and of one floating dtype
     * @param states in the parameters' compute dtype: the first state of each parameter, then the second of each, …
     * @param master the parameters in their compute dtype, which are what is stepped; each parameter becomes its master,
     *     rounded. Empty for none
     * @param steps how many steps each parameter has had, 0-d int64 each; one more afterwards. May be empty where the formula
     *     does not use the number
     * @param rate 0-d float64
     * @param gradScale what gradients are multiplied by, 0-d float64; null for 1
     * @param skip if not 0, nothing changes, 0-d float32; null for 0
     * @param weightDecay at least 0
     * @param settings one for each name
     */
    public record Args(
            List<Tensor> params,
            List<Tensor> grads,
            List<Tensor> states,
            List<Tensor> master,
            List<Tensor> steps,
            Tensor rate,
            @Nullable Tensor gradScale,
            @Nullable Tensor skip,
            double weightDecay,
            List<Number> settings) {}

    private final List<String> states;
    private final List<String> settings;
    private final Op<Args, Void> op;

    private StepOp(String name, List<String> states, List<String> settings, StepCode code) {
        this.states = states;
        this.settings = settings;
        this.op = Op.define(name, Args.class, Result.none(), Map.of("settings", settings))
                .mutates("params", "states", "master", "steps")
                .kernelType(a -> check(name, a, code))
                .code(code)
                .nonDifferentiable()
                .register();
    }

    /**
     * Defines a step.
     *
     * @param name of the op, such as {@code demo::lion_}
     * @param states names of what is kept for each element of a parameter
     * @param settings names of numbers beside rate and weight decay
     * @param formula gives the new parameter and then the new states, in their order
     * @return the op
     * @throws SchemaException if the formula gives another number of values, or names what there is not
     */
    public static StepOp define(
            String name, List<String> states, List<String> settings, Function<Operands, List<Expr>> formula) {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(formula, "formula");
        List<String> kept = List.copyOf(Objects.requireNonNull(states, "states"));
        List<String> numbers = List.copyOf(Objects.requireNonNull(settings, "settings"));
        StepCode code = new StepCode(kept.size(), numbers.size(), v -> {
            List<Expr> results = formula.apply(new Operands(v, kept, numbers));
            if (results == null || results.size() != 1 + kept.size()) {
                throw new SchemaException(Message.of("define: the formula of '" + name + "' gives "
                                + (results == null ? "null" : results.size() + " values") + ", not the parameter and "
                                + kept.size() + " states")
                        .fact("states", kept)
                        .fix("return List.of(parameter, states…)."));
            }
            return results;
        });
        return new StepOp(name, kept, numbers, code);
    }

    /** {@return the op} */
    public Op<Args, Void> op() {
        return op;
    }

    /** {@return names of what is kept for each element} */
    public List<String> states() {
        return states;
    }

    /** {@return names of the numbers beside rate and weight decay} */
    public List<String> settings() {
        return settings;
    }

    /**
     * One step.
     *
     * @param args of what
     * @throws ShapeException or DTypeException if they do not fit together; nothing is changed then
     */
    public void call(Args args) {
        op.call(args);
    }

    private static DType check(String op, Args a, StepCode code) {
        DType dtype = Optimizers.sameType(op, "params", a.params());
        Optimizers.requireFit(op, "grads", a.params(), a.grads(), Optimizers.sameType(op, "grads", a.grads()));
        int n = a.params().size();
        if (a.states().size() != n * code.states()) {
            throw new ShapeException(op + ": " + n + " params with " + code.states() + " states each, but "
                    + a.states().size() + " states");
        }
        for (int k = 0; k < code.states(); k++) {
            Optimizers.requireFit(
                    op, "states", a.params(), a.states().subList(k * n, (k + 1) * n), dtype.computeType());
        }
        if (!a.master().isEmpty()) {
            Optimizers.requireFit(op, "master", a.params(), a.master(), dtype.computeType());
        }
        if (!a.steps().isEmpty() || code.countsSteps()) {
            Optimizers.requireSize(op, "steps", a.params(), a.steps());
        }
        for (Tensor step : a.steps()) {
            Optimizers.requireScalar(op, "steps", step, DType.INT64);
        }
        Optimizers.requireScalar(op, "rate", a.rate(), DType.FLOAT64);
        Optimizers.requireScalar(op, "gradScale", a.gradScale(), DType.FLOAT64);
        Optimizers.requireScalar(op, "skip", a.skip(), DType.FLOAT32);
        Optimizers.requireNotNegative(op, "weightDecay", a.weightDecay());
        if (a.settings().size() != code.settings()) {
            throw new ShapeException(op + ": takes " + code.settings() + " settings, but got "
                    + a.settings().size());
        }
        return dtype;
    }
}
