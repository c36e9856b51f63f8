// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.dispatch.GraphLayer;
import dev.merapi.dispatch.GraphNode;
import dev.merapi.dispatch.GraphPlace;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Definition;
import dev.merapi.random.DrawLog;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The autograd layer of a call: refuses what cannot be differentiated before anything runs, runs the kernel below, and
 * records a node. See Note [Views and in-place ops] in {@link ViewMeta}.
 */
public final class Recorder implements GraphLayer {
    /** For the service loader. */
    public Recorder() {}

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
        if (op.isComposite()) {
            Dispatcher.requireOpen(op, args, op.schema().tensors(op.name(), args));
            return Dispatcher.expand(op, args, context, below);
        }
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        boolean recording = context.isGradEnabled() && context.isAboveAutograd();
        if (op.isView()) {
            ForwardMode.requireHere(op, args, inputs);
            return view(op, args, inputs, recording, context);
        }
        if (!recording) {
            ForwardMode.requireHere(op, args, inputs);
        } else {
            for (Tensor t : inputs) {
                GraphPlace place = t == null ? null : TENSORS.autograd(t);
                if (place != null) {
                    ForwardMode.requireHere(op, args, inputs);
                    if (place.requiresGradNow()) {
                        return record(op, args, inputs, context, below);
                    }
                }
            }
            if (op.isMutating() && writesIntoGraph(op, args, inputs)) {
                return record(op, args, inputs, context, below);
            }
        }
        R result = Dispatcher.belowAutograd(op, args, inputs, context, below);
        if (op.hasInternal()) {
            Dispatcher.closeInternal(op, result);
        }
        return result;
    }

    /** Whether the op would write to a view that wants no gradient itself, of a tensor that does: that is refused. */
    private static <A extends Record> boolean writesIntoGraph(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        boolean[] mutated = null;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && TENSORS.autograd(t) instanceof ViewMeta v && v.isOfGraph()) {
                mutated = mutated == null ? op.mutatedSlots(args) : mutated;
                if (mutated[i]) {
                    return true;
                }
            }
        }
        return false;
    }

    /** A call with grad mode on and an input that requires a gradient, or a view of such a tensor that it writes. */
    private static <A extends Record, R> R record(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, Context context, int below) {
        if (op.isNonDifferentiable()) {
            refuseStaleHistory(op, args, inputs);
            return Dispatcher.belowAutograd(op, args, inputs, context, below);
        }
        requireBothHalves(op);
        boolean[] mutated = op.isMutating() ? op.mutatedSlots(args) : null;
        if (mutated != null) {
            requireMutable(op, inputs, mutated);
        }
        if (!op.hasBackward()) {
            if (op.compose() != null) {
                return Dispatcher.expand(op, args, context, below);
            }
            throw new MissingBackwardException(Message.of(op.name() + ": autograd has not been implemented for this op,"
                            + " and an input requires a gradient")
                    .fact("inputs", describe(op, args, inputs))
                    .fix("register .autograd(save, backward), declare it .nonDifferentiable(),"
                            + " or call it under Autograd.noGrad() or on x.detach()."));
        }
        requireBackwardHere(op, args, inputs);
        if (op.isMutating() && !op.returnsMutated()) {
            throw new GradientException(op.name() + ": has a backward and writes " + op.mutates()
                    + ", so it must return the written tensors in order\n  fix: declare returnsMutated().");
        }
        if (mutated != null) {
            OpNode.requireSavable(op, args, inputs, mutated);
        }
        // The edges are those from before the call: an in-place op points to the history that it replaces.
        @Nullable Node[] nodes = new Node[inputs.length];
        int[] indices = new int[inputs.length];
        Device device = null;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null) {
                device = device == null ? t.device() : device;
                AutogradMeta m = AutogradMeta.of(t);
                Edge edge = m == null ? null : m.edge(t);
                if (edge != null) {
                    nodes[i] = edge.node();
                    indices[i] = edge.output();
                }
            }
        }
        DrawLog draws = OpNode.isRunAgain(op) ? new DrawLog() : null;
        R result;
        if (draws == null) {
            result = Dispatcher.belowAutograd(op, args, inputs, context, below);
        } else {
            try (DrawLog.Use use = draws.record()) {
                result = Dispatcher.belowAutograd(op, args, inputs, context, below);
            }
        }
        Tensor[] results = op.result().tensors(op.name(), result);
        Tensor[] outputs = new Tensor[results.length];
        for (int i = 0; i < outputs.length; i++) {
            outputs[i] = Tensor.meta(results[i]);
        }
        OpNode<A, R> node =
                new OpNode<>(op, args, inputs, result, outputs, java.util.Objects.requireNonNull(device), draws);
        node.connect(nodes, indices);
        try {
            tie(op, args, node, inputs, mutated, result, results, context);
        } catch (RuntimeException | Error e) {
            for (int i = 0; i < results.length && mutated == null; i++) {
                results[i].close(); // nobody gets them
            }
            throw e;
        }
        if (op.hasInternal()) {
            Dispatcher.closeInternal(op, result);
        }
        return result;
    }

    /** Makes the results part of the graph, and saves what backward needs. */
    private static <A extends Record, R> void tie(
            Definition<A, R> op,
            A args,
            OpNode<A, R> node,
            @Nullable Tensor[] inputs,
            boolean @Nullable [] mutated,
            R result,
            Tensor[] results,
            Context context) {
        Node history = node;
        if (mutated != null) {
            // Saving sees the new values: a formula that needs an old one keeps a copy of it, or is a composition.
            // If it fails, the write is done all the same: the node stays, and backward through it says why it cannot
            // be.
            history = rebase(node, inputs, mutated, results);
        } else {
            for (int i = 0; i < results.length; i++) {
                if (results[i].dtype().isFloating() && op.isDifferentiable(result, i)) {
                    TENSORS.setAutograd(results[i], new AutogradMeta(node, i));
                }
            }
        }
        node.save(args, result, inputs, results, context);
        adopt(history, context);
    }

    /** What a node keeps and what reads it come together. */
    private static void requireBothHalves(Definition<?, ?> op) {
        if (op.hasSave() && !op.hasBackward()) {
            throw new MissingBackwardException(op.name() + ": saveForBackward is registered at " + op.saveSite()
                    + ", but there is no backward\n  fix: register both.");
        }
        if (op.hasBackward() && !op.hasSave()) {
            throw new MissingBackwardException(op.name() + ": a backward is registered at " + op.backwardSite()
                    + ", but there is no saveForBackward\n  fix: register both; save null if nothing is needed.");
        }
    }

    @Override
    public <A extends Record, R> R restricted(Definition<A, R> op, A args, Context context) {
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        boolean recording = context.isGradEnabled();
        if (recording && op.isNonDifferentiable()) {
            refuseStaleHistory(op, args, inputs);
        }
        boolean before = context.setGradEnabled(recording && !op.isNonDifferentiable());
        R result;
        try {
            result = Dispatcher.composition(op, args, context);
        } finally {
            context.setGradEnabled(before);
        }
        Tensor[] outputs = op.result().tensors(op.name(), result);
        boolean changed = false;
        for (int i = 0; i < outputs.length; i++) {
            Tensor made = outputs[i];
            if (made.requiresGrad() && !op.isDifferentiable(result, i)) {
                outputs[i] = made.detach();
                changed = true;
                if (Arrays.asList(inputs).indexOf(made) < 0) {
                    made.close();
                }
            }
        }
        return changed ? java.util.Objects.requireNonNull(op.result().rebuild(result, outputs)) : result;
    }

    /** Whose duty it is to let go of what a node saved: its outermost scope's, or without one the backstop's. */
    private static void adopt(Node node, Context context) {
        Scope scope = context.scope();
        if (scope != null) {
            TENSORS.addNode(scope, node);
        } else {
            node.escape();
        }
    }

    /** A backward for other devices only is none: that shall show at the call, and not when training is under way. */
    private static <A extends Record> void requireBackwardHere(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        if (op.backward() != null || op.compose() != null) {
            return;
        }
        for (Tensor t : inputs) {
            if (t != null) {
                DeviceType type = t.device().type();
                if (!hasBackwardHere(op, type)) {
                    throw new MissingBackwardException(Message.of(
                                    op.name() + ": has no backward for " + type + ", and an input requires a gradient")
                            .fact("inputs", describe(op, args, inputs))
                            .fix("register a backward kernel for " + type + ", or the shared formula."));
                }
                return;
            }
        }
    }

    private static boolean hasBackwardHere(Definition<?, ?> op, DeviceType type) {
        return op.backward() != null
                || op.hasBackward()
                        && (op.backwardKernel(type) != null
                                || BackendChoice.of(type).backwardKernel(op) != null);
    }

    private static <A extends Record> String describe(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        List<String> all = new ArrayList<>();
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            all.add(op.slotName(args, i) + " "
                    + (t == null ? "absent" : t.describe() + (t.requiresGrad() ? " (requires grad)" : "")));
        }
        return String.join(", ", all);
    }

    private static <A extends Record> void refuseStaleHistory(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        if (!op.isMutating()) {
            return;
        }
        boolean[] mutated = op.mutatedSlots(args);
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (mutated[i]
                    && t != null
                    && (t.requiresGrad() || TENSORS.autograd(t) instanceof ViewMeta v && v.isOfGraph())) {
                throw new GradientException(op.name() + ": is non-differentiable and would write " + t.describe()
                        + ", which requires a gradient\n  fix: run it under Autograd.noGrad(), or on t.detach().");
            }
        }
    }

    private static void requireMutable(Definition<?, ?> op, @Nullable Tensor[] inputs, boolean[] mutated) {
        int written = 0;
        boolean view = false;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (mutated[i] && t != null) {
                requireMutable(op, t);
                written++;
                view |= TENSORS.autograd(t) instanceof ViewMeta;
            }
        }
        if (written > 1 && view) {
            throw new GradientException(op.name()
                    + ": writes several tensors in place, one of which is a view; that cannot be recorded"
                    + "\n  fix: copy() the view first, or call it under Autograd.noGrad().");
        }
    }

    private static void requireMutable(Definition<?, ?> op, Tensor t) {
        if (t.isInference()) {
            throw new GradientException(
                    op.name() + ": would write in place what requires a gradient to a tensor that was"
                            + " made in inference mode: " + t.describe()
                            + "\n  fix: copy() it outside of inference mode, or use the out-of-place op.");
        }
        AutogradMeta m = AutogradMeta.of(t);
        if (m == null) {
            return;
        }
        boolean leaf = m.requiresGrad && m.gradFn() == null;
        boolean ofLeaf = false;
        if (m instanceof ViewMeta v && !leaf) {
            boolean wants = v.requiresGradNow();
            boolean ofGraph = v.isOfGraph();
            if (!v.isSingle() && (wants || ofGraph)) {
                throw new GradientException(op.name() + ": in place on one of several views of one tensor ("
                        + t.describe() + ") cannot be recorded\n  fix: use the out-of-place op.");
            }
            // One that wanted a gradient when it was made is of a leaf also if that has ceased to want one.
            boolean made = AutogradMeta.variable(v.base()).gradFn() != null;
            ofLeaf = !made && (wants || ofGraph) || v.nearestLeaf() != null;
            if (ofGraph && !wants && !ofLeaf) {
                throw new GradientException(op.name()
                        + ": would write in place to a view that was made without recording,"
                        + " of a tensor that requires a gradient: " + t.describe() + "\n  fix: make the view while"
                        + " recording is on; or write under Autograd.noGrad() too, or to t.detach().");
            }
        }
        if (leaf || ofLeaf) {
            throw new GradientException(
                    op.name() + ": would write in place to " + (leaf ? "a leaf" : "a view of a leaf")
                            + " that requires a gradient: " + t.describe()
                            + "\n  fix: run it under Autograd.noGrad(), or out of place.");
        }
    }

    /** Gives the written tensors their new history; returns the node that stands for it. */
    private static Node rebase(OpNode<?, ?> node, @Nullable Tensor[] inputs, boolean[] mutated, Tensor[] results) {
        int output = 0;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (!mutated[i] || t == null) {
                continue;
            }
            if (TENSORS.autograd(t) instanceof ViewMeta v) {
                Tensor base = v.base();
                AutogradMeta meta = java.util.Objects.requireNonNull(AutogradMeta.of(base));
                CopySlices slices = new CopySlices(base, v, node, i);
                meta.setHistory(new Edge(slices, 0));
                return slices;
            } else {
                AutogradMeta.variable(t).setHistory(new Edge(node, output));
            }
            output++;
        }
        return node;
    }

    /** Makes the views of a view op and ties them to their base. */
    @SuppressWarnings("unchecked")
    private static <A extends Record, R> R view(
            Definition<A, R> op, A given, @Nullable Tensor[] inputs, boolean recording, Context context) {
        op.requireWhole();
        A args = op.schema().own(given); // the view makes itself again from them
        int slot = ViewMeta.viewedSlot(op, args);
        Tensor viewed = java.util.Objects.requireNonNull(inputs[slot]);
        viewed.requireOpen(op.name(), op.viewedArgument());
        List<Layout> layouts = op.viewLayouts(args);
        Tensor[] results = new Tensor[layouts.size()];
        for (int i = 0; i < results.length; i++) {
            Layout layout = layouts.get(i);
            if (!viewed.isMeta()
                    && !layout.fits(
                            viewed.dtype().byteSize(), TENSORS.storage(viewed).byteSize())) {
                throw new ShapeException(
                        op.name() + ": its view rule gave " + layout + ", which reaches beyond the memory of "
                                + viewed.describe() + " with layout " + viewed.layout());
            }
            results[i] = TENSORS.viewAs(viewed, layout, context);
        }
        R result = op.hasManyViews() ? (R) List.of(results) : (R) results[0];
        if (context.isInference() || op.restrictsGradients() && !op.isDifferentiable(result, 0)) {
            return result; // not part of a graph, as after detach()
        }
        Node node = null;
        boolean differentiable =
                recording && viewed.requiresGrad() && viewed.dtype().isFloating();
        if (differentiable) {
            Tensor[] outputs = new Tensor[results.length];
            for (int i = 0; i < outputs.length; i++) {
                outputs[i] = Tensor.meta(results[i]);
            }
            requireBothHalves(op);
            if (hasBackwardHere(op, viewed.device().type())) {
                OpNode<A, R> opNode = new OpNode<>(op, args, inputs, result, outputs, viewed.device(), null);
                opNode.connect(inputs);
                opNode.save(args, result, inputs, new Tensor[0], context);
                node = opNode;
            } else {
                node = new ViewNode<>(op, args, slot, viewed, outputs);
                node.connect(new Tensor[] {viewed});
            }
            adopt(node, context);
        }
        if (viewed.isMeta()) {
            for (int i = 0; i < results.length && node != null; i++) {
                TENSORS.setAutograd(results[i], new AutogradMeta(node, i));
            }
            return result;
        }
        ViewMeta parent = TENSORS.autograd(viewed) instanceof ViewMeta v ? v : null;
        Tensor base = parent != null ? parent.base() : baseOf(viewed);
        for (int i = 0; i < results.length; i++) {
            TENSORS.setAutograd(
                    results[i],
                    new ViewMeta(base, parent, op, args, i, !op.hasManyViews(), differentiable ? node : null));
        }
        return result;
    }

    /** A handle of the viewed variable that shares its place in the graph, now and later. */
    private static Tensor baseOf(Tensor viewed) {
        AutogradMeta.variable(viewed);
        return TENSORS.uncountedHandle(viewed);
    }

    // ---------------------------------------------------------------- what a tensor asks

    @Override
    public void setRequiresGrad(Tensor t, boolean wanted) {
        GraphAccess.setRequiresGrad(t, wanted);
    }

    @Override
    public @Nullable Tensor grad(Tensor t) {
        AutogradMeta m = AutogradMeta.of(t);
        return m == null ? null : m.grad;
    }

    @Override
    public void setGrad(Tensor t, @Nullable Tensor gradient) {
        GraphAccess.setGrad(t, gradient);
    }

    @Override
    public boolean hasTangent(Tensor t) {
        return GraphAccess.hasTangent(t);
    }

    @Override
    public @Nullable GraphNode madeBy(Tensor t) {
        return GraphAccess.madeBy(t);
    }
}
