// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops.code;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Program;
import dev.merapi.expr.ir.Promotion;
import dev.merapi.expr.ir.Variable;
import dev.merapi.op.Op;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Function;

/**
 * The formula of an optimiser's step, and its programs for the dtypes that were met. A program's inputs are the parameter
 * (its master, if there is one), the gradient and the states; its outputs the parameter, the master if there is one, and the
 * states: each lies where the input lies. Its scalars are the settings, and then those that are numbered below.
 */
public final class StepCode {
    /** What a formula computes with; {@code scalars} in float64: settings, weight decay, rate, number of the step. */
    public record Variables(Expr parameter, Expr gradient, List<Expr> states, List<Expr> scalars) {}

    /** What programs are specialised by. */
    private record Key(DType parameter, DType gradient, boolean master, boolean scaled) {}

    /** A program: one object for each that there is, by which backends know what they made of it. */
    public static final class Specialized {
        private final Program program;
        private final boolean master;

        private Specialized(Program program, boolean master) {
            this.program = program;
            this.master = master;
        }

        public Program program() {
            return program;
        }

        public boolean hasMaster() {
            return master;
        }
    }

    private final int states;
    private final int settings;
    private final List<Expr> roots;
    private final ConcurrentMap<Key, Specialized> programs = new ConcurrentHashMap<>();

    /** @param formula gives the new parameter, then the new states */
    public StepCode(int states, int settings, Function<Variables, List<Expr>> formula) {
        this.states = states;
        this.settings = settings;
        List<Expr> kept = new ArrayList<>();
        for (int k = 0; k < states; k++) {
            kept.add(Expr.input(2 + k));
        }
        List<Expr> scalars = new ArrayList<>();
        for (int k = 0; k < scaleAt(); k++) {
            scalars.add(wide(k));
        }
        this.roots = List.copyOf(formula.apply(new Variables(Expr.input(0), Expr.input(1), kept, scalars)));
    }

    /** Scalars are numbers of float64, and what is calculated of them alone is, too; beside elements they are the elements'. */
    private static Expr wide(int scalar) {
        return Expr.scalar(scalar).cast(DType.FLOAT64);
    }

    /** That of an op. */
    public static StepCode of(Op<?, ?> op) {
        return (StepCode) Objects.requireNonNull(op.definition().code());
    }

    public List<Expr> roots() {
        return roots;
    }

    public int states() {
        return states;
    }

    public int settings() {
        return settings;
    }

    /** The scalar that is the weight decay. */
    public int decayAt() {
        return settings;
    }

    /** The scalar that is the learning rate. */
    public int rateAt() {
        return settings + 1;
    }

    /** The scalar that is the number of the step, from 1. */
    public int stepAt() {
        return settings + 2;
    }

    /** The scalar that gradients are multiplied by. */
    public int scaleAt() {
        return settings + 3;
    }

    public int scalars() {
        return settings + 4;
    }

    /** Whether it makes a difference how many steps there were. */
    public boolean countsSteps() {
        return roots.stream()
                .anyMatch(root -> Variable.uses(root, Variable.Role.SCALAR).get(stepAt()));
    }

    /** @param scaled whether gradients are multiplied by something */
    public Specialized specialize(DType parameter, DType gradient, boolean master, boolean scaled) {
        return programs.computeIfAbsent(new Key(parameter, gradient, master, scaled), this::compile);
    }

    private Specialized compile(Key key) {
        DType wide = key.parameter.computeType();
        List<DType> inputs = new ArrayList<>(List.of(key.master ? wide : key.parameter, key.gradient));
        inputs.addAll(Collections.nCopies(states, wide));
        List<DType> outputs = new ArrayList<>(List.of(key.parameter));
        List<Expr> results = new ArrayList<>(List.of(widened(roots.get(0), key)));
        if (key.master) {
            outputs.add(wide);
            results.add(results.get(0));
        }
        for (int k = 0; k < states; k++) {
            outputs.add(wide);
            results.add(widened(roots.get(1 + k), key));
        }
        Program program = Program.compile(
                results,
                inputs,
                new boolean[inputs.size()],
                Collections.nCopies(scalars(), DType.Kind.FLOATING),
                outputs,
                Promotion.STEPWISE);
        return new Specialized(program, key.master);
    }

    /** The same of operands that were converted; a gradient is scaled in float64, for its scale may be beyond its dtype. */
    private Expr widened(Expr root, Key key) {
        DType wide = key.parameter.computeType();
        Expr gradient = Expr.input(1);
        Expr scaled =
                key.scaled ? gradient.cast(DType.FLOAT64).mul(wide(scaleAt())).cast(wide) : gradient.cast(wide);
        return root.substitute(
                e -> e == gradient ? scaled : e == Expr.input(0) ? Expr.input(0).cast(wide) : e);
    }
}
