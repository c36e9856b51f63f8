// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.OpResultException;
import dev.merapi.op.Definition;
import dev.merapi.op.Jvp;
import dev.merapi.op.Tangents;
import dev.merapi.ops.Views;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What forward mode does with one call: the op's own rule; for a view the same view of the tangent; and for all others the
 * backward of the backward. A backward is linear in the gradients g that come in, u = Jᵀg, so the backward of u with respect
 * to g, given tangents t of the inputs, is J·t.
 */
final class Pushforward {
    private Pushforward() {}

    /** A result, and per output its tangent, null for zero; or null if no output has a tangent that is known. */
    record Pushed<R>(R result, @Nullable Tensor @Nullable [] tangents) {}

    /**
     * Whether tangents concern the op at all.
     *
     * @throws GradientException if it is one that forward mode cannot follow
     */
    static <A extends Record> boolean isSeen(Definition<A, ?> op, A args, @Nullable Object[] tangents) {
        if (op.isMutating()) {
            if (!op.isNonDifferentiable() || writesTangent(op, args, tangents)) {
                throw new GradientException(Message.of(op.name()
                                + ": writes in place, and an argument has a tangent: forward mode needs values"
                                + " that stay as they are")
                        .fix("use the op that returns its result, or reverse mode (Autograd.grad)."));
            }
            return false;
        }
        if (op.isNonDifferentiable()) {
            return false;
        }
        Jvp<A, ?> rule = op.jvp();
        if (rule instanceof Jvp.Refused<?, ?> refused) {
            throw refused(op, refused);
        }
        if (rule == null && !op.isView() && !isOfParts(op) && op.backward() == null) {
            boolean once = op.hasBackward();
            throw new MissingBackwardException(Message.of(op.name()
                            + (once
                                    ? ": is differentiable once, by a kernel, and forward mode would differentiate its backward"
                                    : ": has neither a backward nor a jvp, and an argument has a tangent"))
                    .fix("register .jvp(rule), a shared .backward formula or .compose(…); or declare it"
                            + " .nonDifferentiable(), or call it on x.detach()."));
        }
        return true;
    }

    /** For an op that draws while it runs and did not say that it does. */
    static GradientException random(Definition<?, ?> op) {
        return refused(op, new Jvp.Refused<>("it draws random numbers", Jvp.DRAW_OUTSIDE));
    }

    private static GradientException refused(Definition<?, ?> op, Jvp.Refused<?, ?> why) {
        return new GradientException(
                Message.of(op.name() + ": has no forward mode: " + why.why()).fix(why.fix()));
    }

    private static <A extends Record> boolean writesTangent(Definition<A, ?> op, A args, @Nullable Object[] tangents) {
        boolean[] mutated = op.mutatedSlots(args);
        for (int i = 0; i < tangents.length; i++) {
            if (mutated[i] && tangents[i] != null) {
                return true;
            }
        }
        return false;
    }

    /** Whether tangents go through the ops that it is made of. */
    static boolean isOfParts(Definition<?, ?> op) {
        return op.jvp() == null && !op.isView() && op.compose() != null && op.backward() == null;
    }

    /** The op, and its tangents; seen by the levels outside of {@code level} only. */
    static <A extends Record, R> Pushed<R> run(
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] inputs,
            @Nullable Tensor[] tangents,
            ForwardMode.Level level,
            Context context) {
        Jvp<A, R> rule = op.jvp();
        if (rule != null) {
            R result = Dispatcher.call(op, args, context);
            R given = rule.apply(args, result, new Tangents<>(op, args, inputs, tangents));
            return new Pushed<>(result, checked(op, result, op.result().tangents(op.name(), result, given)));
        }
        if (op.isView()) {
            R result = Dispatcher.call(op, args, context);
            return new Pushed<>(result, view(op, args, inputs, tangents, context));
        }
        return throughBackward(op, args, inputs, tangents, level, context);
    }

    private static <A extends Record, R> @Nullable Tensor[] checked(
            Definition<A, R> op, R result, @Nullable Tensor[] tangents) {
        Tensor[] outputs = op.result().tensors(op.name(), result);
        for (int i = 0; i < outputs.length; i++) {
            Tensor t = tangents[i];
            Tensor y = outputs[i];
            if (t != null && !(t.shape().equals(y.shape()) && t.dtype() == y.dtype() && t.device() == y.device())) {
                throw new OpResultException(Message.of(op.name() + ": its jvp gave a tangent of another form")
                        .fact("tangent", t.describe())
                        .fact(op.outputName(result, i), y.describe())
                        .fix("a tangent has the shape, dtype and device of its output."));
            }
        }
        return tangents;
    }

    private static <A extends Record, R> @Nullable Tensor[] view(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, @Nullable Tensor[] tangents, Context context) {
        int slot = ViewMeta.viewedSlot(op, args);
        Tensor viewed = java.util.Objects.requireNonNull(inputs[slot]);
        Tensor t = java.util.Objects.requireNonNull(tangents[slot]);
        // Whether a view is possible may depend on the strides.
        boolean alike = t.isContiguous() || t.layout().equals(viewed.layout());
        @Nullable Tensor[] given = inputs.clone();
        given[slot] = alike ? t : t.contiguous();
        return op.result().tensors(op.name(), Dispatcher.call(op, op.schema().rebuild(args, given), context));
    }

    private static <A extends Record, R> Pushed<R> throughBackward(
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] inputs,
            @Nullable Tensor[] tangents,
            ForwardMode.Level level,
            Context context) {
        boolean recording = context.isGradEnabled();
        boolean wanted = false; // whether somebody will differentiate the result, or the tangent, in reverse
        for (int i = 0; i < inputs.length && recording; i++) {
            wanted |= wantsGradient(inputs[i]) || wantsGradient(tangents[i]);
        }
        boolean gradMode = context.setGradEnabled(true);
        boolean inference = context.setInference(false);
        Scope around = context.scope();
        if (!wanted) {
            context.setScope(null); // the graph is nobody else's, so what it has saved goes when this is done
        }
        Pushed<R> kept;
        try (Scope own = Scope.open()) {
            List<Tensor> variables = new ArrayList<>();
            List<Tensor> directions = new ArrayList<>();
            @Nullable Tensor[] given = inputs.clone();
            for (int i = 0; i < inputs.length; i++) {
                Tensor t = tangents[i];
                Tensor x = inputs[i];
                if (t != null && x != null) {
                    Tensor v = variable(x, wanted, level);
                    given[i] = v;
                    variables.add(v);
                    directions.add(t);
                } else if (x != null && !wanted && x.requiresGrad()) {
                    given[i] = variable(x, false, level).requiresGrad(false); // no part of the user's graph
                }
            }
            R result = Dispatcher.call(op, op.schema().rebuild(args, given), context);
            Tensor[] outputs = op.result().tensors(op.name(), result);
            @Nullable Tensor[] pushed = backwardOfBackward(outputs, variables, directions, wanted);
            if (wanted) {
                for (int i = 0; i < variables.size(); i++) {
                    ForwardMode.attach(level, variables.get(i), directions.get(i)); // for a backward through the result
                }
            } else {
                for (int i = 0; i < outputs.length; i++) {
                    Tensor y = outputs[i];
                    outputs[i] = y.isClosed() ? y : TENSORS.engineHandle(ForwardMode.withoutHistory(y));
                    Tensor t = pushed[i];
                    pushed[i] = t == null ? null : TENSORS.engineHandle(t);
                }
                result = java.util.Objects.requireNonNull(op.result().rebuild(result, outputs));
            }
            kept = new Pushed<>(result, pushed);
            own.keep(outputs);
            own.keep(pushed);
        } finally {
            context.setScope(around);
            context.setInference(inference);
            context.setGradEnabled(gradMode);
        }
        if (!wanted) {
            join(op.result().tensors(op.name(), kept.result()), context);
            join(java.util.Objects.requireNonNull(kept.tangents()), context);
        }
        return kept;
    }

    private static void join(@Nullable Tensor[] handles, Context context) {
        for (Tensor t : handles) {
            if (t != null && !t.isClosed()) {
                Tensor unused = TENSORS.joinScope(t, context);
            }
        }
    }

    private static boolean wantsGradient(@Nullable Tensor t) {
        return t != null && t.requiresGrad();
    }

    /** Stands for an argument: part of its graph if that is wanted, and with its tangents of the levels outside. */
    private static Tensor variable(Tensor x, boolean wanted, ForwardMode.Level level) {
        Tensor v;
        if (wanted && x.requiresGrad()) {
            v = Views.ALIAS.call(new Views.Alias(x));
        } else {
            AutogradMeta m = AutogradMeta.of(x);
            Duals duals = m == null ? null : m.duals;
            v = x.detach().requiresGrad(true);
            AutogradMeta.variable(v).duals = duals == null ? null : duals.outside(level);
        }
        Duals unused = ForwardMode.duals(AutogradMeta.variable(v)); // what saves it shares them
        return v;
    }

    private static @Nullable Tensor[] backwardOfBackward(
            Tensor[] outputs, List<Tensor> variables, List<Tensor> directions, boolean wanted) {
        @Nullable Tensor[] pushed = new Tensor[outputs.length];
        List<Tensor> roots = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        for (Tensor y : outputs) {
            if (!y.isClosed() && y.requiresGrad()) {
                roots.add(y);
                gradients.add(TENSORS.zeros(y, y.isMeta()).requiresGrad(true));
            }
        }
        if (roots.isEmpty()) {
            return pushed;
        }
        List<@Nullable Tensor> found = Gradients.of("grad", roots, variables, gradients, false, true, true);
        List<Tensor> linear = new ArrayList<>();
        List<Tensor> along = new ArrayList<>();
        for (int i = 0; i < variables.size(); i++) {
            Tensor u = found.get(i);
            if (u != null && u.requiresGrad()) {
                linear.add(u);
                along.add(directions.get(i));
            }
        }
        if (linear.isEmpty()) {
            return pushed;
        }
        List<@Nullable Tensor> products = Gradients.of("grad", linear, gradients, along, false, wanted, true);
        for (int i = 0, k = 0; i < outputs.length; i++) {
            if (!outputs[i].isClosed() && outputs[i].requiresGrad()) {
                pushed[i] = products.get(k++);
            }
        }
        return pushed;
    }
}
