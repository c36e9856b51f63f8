// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.CheckedMode;
import dev.merapi.dispatch.Context;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Backward;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.Definition;
import dev.merapi.op.DeviceCode;
import dev.merapi.op.GradValidation;
import dev.merapi.op.Grads;
import dev.merapi.op.tree.Tree;
import dev.merapi.ops.Views;
import dev.merapi.random.DrawLog;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The node of a recorded op: what it saved, and its formulas as they were registered at the time of the call. */
final class OpNode<A extends Record, R> extends Node {
    private static final Object FREED_BY_BACKWARD = new Object();
    private static final Object FREED_BY_SCOPE = new Object();
    private static final Object SAVING_FAILED = new Object();

    private final Definition<A, R> op;
    private final int[] slotCounts;
    /** The result with plain values in place and tensors without memory; gradients are shaped like it. */
    private final @Nullable R form;

    private final Device device;
    private final boolean[] present;
    private volatile @Nullable Object saved; // Saved, or why it is gone
    private List<SavedTensor> savedTensors = List.of();
    /** The random numbers that the op took; null if its formula does not run it again. */
    private final @Nullable DrawLog draws;

    OpNode(
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] inputs,
            R result,
            Tensor[] outputs,
            Device device,
            @Nullable DrawLog draws) {
        super(op.name(), outputs);
        this.draws = draws;
        this.op = op;
        this.slotCounts = op.slotCounts(args);
        this.form = op.result().isTensor() ? null : op.result().rebuild(result, outputs);
        this.device = device;
        this.present = new boolean[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            present[i] = inputs[i] != null;
        }
    }

    /** What the op's save function gave, and the arguments if higher derivatives go through the op's composition. */
    private record Saved(@Nullable Object tree, @Nullable Object args) {
        static final Saved NOTHING = new Saved(null, null);

        /** As the node keeps it, with its own tensors and nothing that anybody else could change. */
        @SuppressWarnings("NullAway") // a tree may be null, and so is then its image
        static Saved keep(
                Definition<?, ?> op,
                @Nullable Object tree,
                @Nullable Object args,
                UnaryOperator<@Nullable Tensor> replacement) {
            return new Saved(
                    Tree.keep(op.name(), tree, op.lookup(), replacement),
                    Tree.keep(op.name(), args, op.lookup(), replacement));
        }

        @SuppressWarnings("NullAway") // as above
        Saved map(Definition<?, ?> op, UnaryOperator<@Nullable Tensor> replacement) {
            return new Saved(Tree.map(tree, op.lookup(), replacement), Tree.map(args, op.lookup(), replacement));
        }
    }

    /** Whether the gradient is that of the op's composition, run once more. */
    static boolean isRunAgain(Definition<?, ?> op) {
        return op.compose() != null && op.backward() == null;
    }

    /** Runs the op's save function and stores its tree. */
    void save(A args, R result, @Nullable Tensor[] inputs, Tensor[] results, Context context) {
        Backward.Save<A, R, Object> save = op.save();
        List<SavedTensor> slots = new ArrayList<>(3);
        try {
            Object tree = save != null ? save.apply(args, result) : null;
            Object forComposition = isRunAgain(op) ? args : null;
            if (tree == null && forComposition == null) {
                return;
            }
            HookStack hooks = HookStack.current(context);
            ForwardMode.expect(results, context);
            saved = Saved.keep(op, tree, forComposition, t -> {
                AutogradMeta graph = ForwardMode.carry(t, graphOf(t, inputs, result, results));
                SavedTensor slot = SavedTensor.save(t, sourceOf(t, inputs, results), graph, hooks, name());
                slots.add(slot);
                return slot.placeholder();
            });
            savedTensors = slots;
        } catch (RuntimeException | Error e) {
            saved = SAVING_FAILED;
            slots.forEach(slot -> slot.release(context.memory()));
            throw e;
        }
    }

    /**
     * Refuses an argument that could not be saved, before an op writes in place: afterwards it would be too late. What is
     * saved is asked with the values from before; only which tensors it is matters.
     */
    static <A extends Record, R> void requireSavable(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, boolean[] mutated) {
        boolean any = false;
        for (Tensor t : inputs) {
            any |= t != null && t.isInference();
        }
        if (!any) {
            return;
        }
        Context context = Context.current();
        boolean recording = context.setGradEnabled(false);
        Object tree;
        try (Scope scope = TENSORS.openScope(context)) {
            Backward.Save<A, R, Object> save = op.save();
            tree = isRunAgain(op) ? args : save == null ? null : save.apply(args, written(op, args, inputs, mutated));
        } finally {
            context.setGradEnabled(recording);
        }
        Tree.forEach(tree, op.lookup(), t -> SavedTensor.requireSavable(t, op.name(), context));
    }

    /** What an op that returns what it writes will return. */
    @SuppressWarnings("NullAway") // an op with a backward has a result
    private static <A extends Record, R> R written(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, boolean[] mutated) {
        Function<A, R> shape = op.shape();
        List<Tensor> all = new ArrayList<>();
        for (int i = 0; i < inputs.length && shape == null; i++) {
            Tensor t = inputs[i];
            if (mutated[i] && t != null) {
                all.add(t);
            }
        }
        return shape != null ? shape.apply(args) : op.result().rebuild(null, all.toArray(new Tensor[0]));
    }

    private static int sourceOf(Tensor t, @Nullable Tensor[] inputs, Tensor[] results) {
        for (int i = 0; i < inputs.length; i++) {
            if (inputs[i] == t) {
                return i;
            }
        }
        for (int i = 0; i < results.length; i++) {
            if (results[i] == t) {
                return -1 - i;
            }
        }
        return SavedTensor.COMPUTED;
    }

    @Override
    String savedName(int position) {
        int source = savedTensors.get(position).source();
        if (source >= 0) {
            return "argument " + inputName(source);
        }
        return source == SavedTensor.COMPUTED
                ? super.savedName(position)
                : outputCount() == 1 ? "the result" : "result " + (-1 - source);
    }

    /**
     * The graph that a saved tensor is differentiated along when a graph is created in backward. Anything that is neither
     * an input nor an output gets an error node: treating it as a constant would be a silent wrong second derivative.
     */
    private @Nullable AutogradMeta graphOf(Tensor t, @Nullable Tensor[] inputs, R result, Tensor[] results) {
        for (int i = 0; i < results.length; i++) {
            if (results[i] == t) {
                if (op.isInternal(result, i)) {
                    return guard(t, inputs);
                }
                return TENSORS.autograd(results[i]) == null ? null : new AutogradMeta(this, i);
            }
        }
        for (Tensor input : inputs) {
            if (input == t) {
                return snapshot(t);
            }
        }
        AutogradMeta m = AutogradMeta.of(t);
        if (m != null && m.requiresGradNow()) {
            return snapshot(t);
        }
        return guard(t, inputs);
    }

    /** For a value that depends on the inputs in a way that only the op knows. */
    private @Nullable AutogradMeta guard(Tensor t, @Nullable Tensor[] inputs) {
        if (!t.dtype().isFloating()) {
            return null;
        }
        @Nullable Node[] nodes = new Node[inputs()];
        int[] indices = new int[nodes.length];
        for (int i = 0; i < nodes.length; i++) {
            nodes[i] = next(i);
            indices[i] = nextIndex(i);
        }
        AutogradMeta meta = new AutogradMeta(new ErrorNode(name(), Tensor.meta(t), nodes, indices), 0);
        ForwardMode.computedFrom(inputs, meta, name());
        return meta;
    }

    /** For what a backward kernel computed: it depends on the inputs and on the gradients that came in. */
    private void guardKernelResult(Tensor result, @Nullable Tensor[] gradients) {
        int n = inputs();
        @Nullable Node[] nodes = new Node[n + gradients.length];
        int[] indices = new int[nodes.length];
        for (int i = 0; i < nodes.length; i++) {
            if (i < n) {
                nodes[i] = next(i);
                indices[i] = nextIndex(i);
                continue;
            }
            Tensor g = gradients[i - n];
            AutogradMeta m = g == null ? null : AutogradMeta.of(g);
            Edge edge = g == null || m == null ? null : m.edge(g);
            if (edge != null) {
                nodes[i] = edge.node();
                indices[i] = edge.output();
            }
        }
        String owner = "the backward kernel of " + name();
        TENSORS.setAutograd(result, new AutogradMeta(new ErrorNode(owner, Tensor.meta(result), nodes, indices), 0));
    }

    private static @Nullable AutogradMeta snapshot(Tensor t) {
        AutogradMeta m = AutogradMeta.of(t);
        if (m == null) {
            return null;
        }
        Edge history = m.history();
        return history == null ? m.requiresGrad ? m : null : new AutogradMeta(history);
    }

    @Override
    @Nullable
    Tensor[] backward(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass) {
        if (!Context.current().isChecked()) {
            return differentiate(gradients, needed, pass);
        }
        Tensor[] kept = savedNow();
        byte[] @Nullable [] before = CheckedMode.snapshots(gradients);
        byte[] @Nullable [] keptBefore = CheckedMode.snapshots(kept);
        @Nullable Tensor[] result = differentiate(gradients, needed, pass);
        byte[] @Nullable [] after = CheckedMode.snapshots(gradients);
        byte[] @Nullable [] keptAfter = CheckedMode.snapshots(kept);
        for (int i = 0; i < gradients.length; i++) {
            if (CheckedMode.differ(before[i], after[i])) {
                throw new GradientException(Message.of("backward of " + name() + ": wrote into the gradient"
                                + (gradients.length == 1 ? "" : " of output " + i) + " that it was given, "
                                + output(i).describe())
                        .fix("work on a copy; other paths may use the same gradient."));
            }
        }
        for (int i = 0; i < kept.length; i++) {
            if (CheckedMode.differ(keptBefore[i], keptAfter[i])) {
                throw new GradientException(Message.of(
                                "backward of " + name() + ": wrote into a tensor that it saved, " + kept[i].describe())
                        .fix("work on a copy; a second backward, and other ops, use the same tensor."));
            }
        }
        return result;
    }

    /** What is saved as it is; not what hooks keep in another form. */
    private Tensor[] savedNow() {
        List<Tensor> all = new ArrayList<>();
        if (saved instanceof Saved kept && savedTensors.stream().noneMatch(SavedTensor::isPacked)) {
            Tree.forEach(kept.tree, op.lookup(), all::add);
            Tree.forEach(kept.args, op.lookup(), all::add);
        }
        return all.toArray(new Tensor[0]);
    }

    @SuppressWarnings("NullAway") // a formula sees null where nothing was saved or no gradient arrived
    private @Nullable Tensor[] differentiate(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass) {
        Saved kept = unpacked();
        Object tree = kept.tree;
        boolean createGraph = pass.createsGraph();
        BackwardContext context =
                new BackwardContext(op, slotCounts, needed, outputs(), createGraph, ViewNode.isMeta(gradients), t -> {
                    return pass.keepsGraph() ? null : room(t);
                });
        Backward<Object, R> kernel = kernel();
        Backward<Object, R> formula = op.backward();
        if (kernel != null && !createGraph) {
            return runKernel(kernel, context, tree, gradients);
        }
        if (formula != null) {
            Grads grads = formula.apply(context, tree, op.result().rebuild(form, gradients));
            return GradValidation.flatten(op, slotCounts, grads, this::inputWas);
        }
        if (kept.args != null) {
            return throughComposition(kept.args, gradients, needed);
        }
        if (kernel == null) {
            throw new MissingBackwardException("backward of " + name() + ": there is none for " + device
                    + ", and a gradient has to pass through it\n  fix: register one, or cut the path with detach().");
        }
        @Nullable Tensor[] result = runKernel(kernel, context, tree, gradients);
        for (Tensor g : result) {
            if (g != null) {
                guardKernelResult(g, gradients);
                AutogradMeta meta = AutogradMeta.variable(g);
                ForwardMode.computedFrom(gradients, meta, name());
                Tree.forEach(tree, op.lookup(), t -> ForwardMode.computedFrom(new Tensor[] {t}, meta, name()));
            }
        }
        return result;
    }

    /** See {@link BackwardContext#room}: once it is given, what was saved is gone, however this pass ends. */
    private @Nullable Tensor room(@Nullable Tensor saved) {
        Context context = Context.current();
        for (SavedTensor slot : context.isChecked() ? List.<SavedTensor>of() : savedTensors) {
            Tensor given = slot.room(saved, context);
            if (given != null) {
                this.saved = FREED_BY_BACKWARD;
                return given;
            }
        }
        return null;
    }

    @SuppressWarnings("unchecked")
    private @Nullable Backward<Object, R> kernel() {
        Object own = op.backwardKernel(device.type());
        if (own instanceof Backward<?, ?> b) {
            return (Backward<Object, R>) b;
        }
        if (own instanceof DeviceCode code) {
            Backward<?, ?> linked = BackendChoice.of(device.type()).linkBackward(op, code);
            if (linked == null) {
                throw new MissingBackwardException(Message.of("backward of " + name() + ": its kernel for "
                                + device.type() + " is code that this backend cannot run")
                        .fact("kernel", code)
                        .fix("register it for the devices that it is written for."));
            }
            return (Backward<Object, R>) linked;
        }
        return (Backward<Object, R>) BackendChoice.of(device.type()).backwardKernel(op);
    }

    /** As forward kernels, those of backward get row-major tensors unless the op declares that it takes strides. */
    @SuppressWarnings("NullAway") // as above
    private @Nullable Tensor[] runKernel(
            Backward<Object, R> kernel, BackwardContext context, @Nullable Object tree, @Nullable Tensor[] gradients) {
        Context thread = Context.current();
        int level = thread.descendBelowAutograd();
        thread.memory().enter();
        try {
            UnaryOperator<@Nullable Tensor> dense = t -> t == null ? null : t.contiguous();
            boolean any = op.takesStrides();
            Object saved = any ? tree : Tree.map(tree, op.lookup(), dense);
            @Nullable Tensor[] incoming = any ? gradients : Tree.map(gradients, dense);
            Grads grads = kernel.apply(context, saved, op.result().rebuild(form, incoming));
            return GradValidation.flatten(op, slotCounts, grads, this::inputWas);
        } finally {
            thread.memory().exit();
            thread.restoreLevel(level);
        }
    }

    /** Differentiates the op's expansion into other ops, run again on the saved arguments. */
    @SuppressWarnings("unchecked")
    private @Nullable Tensor[] throughComposition(
            Object savedArguments, @Nullable Tensor[] gradients, boolean[] needed) {
        A args = (A) savedArguments;
        Function<A, R> compose = java.util.Objects.requireNonNull(op.compose());
        @Nullable Tensor[] inputs = op.schema().tensors(name(), args);
        Context context = Context.current();
        boolean createGraph = context.setGradEnabled(true);
        boolean inference = context.setInference(false); // for backward may run in it
        try {
            R again;
            try (DrawLog.Use same = java.util.Objects.requireNonNull(draws).replay()) {
                again = compose.apply(standIns(args, inputs, needed, createGraph));
            }
            Tensor[] results = op.result().tensors(name(), again);
            return vjp(results, gradients, inputs, needed, createGraph);
        } finally {
            context.setInference(inference);
            context.setGradEnabled(createGraph);
        }
    }

    /**
     * The arguments as variables of their own: without history, or views when a graph is created. Where one argument was
     * made from another, the gradient of the other must not include the path through the first.
     */
    private A standIns(A args, @Nullable Tensor[] inputs, boolean[] needed, boolean createGraph) {
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && createGraph) {
                inputs[i] = Views.ALIAS.call(new Views.Alias(t));
            } else if (t != null) {
                Tensor leaf = TENSORS.viewAs(t, t.layout(), Context.current());
                leaf.requiresGrad(needed[i]);
                inputs[i] = leaf;
            }
        }
        return op.schema().rebuild(args, inputs);
    }

    @Override
    String inputName(int i) {
        return "'" + op.slotName(slotCounts, i) + "'";
    }

    private boolean inputWas(int slot) {
        return present[slot];
    }

    private Saved unpacked() {
        Object tree = saved;
        if (tree == null) {
            return Saved.NOTHING;
        }
        if (tree == FREED_BY_BACKWARD) {
            throw new SavedTensorException(
                    "backward of " + name() + ": its saved tensors were freed by an earlier backward"
                            + "\n  fix: give the first one Graph.RETAIN, or run the forward again.");
        }
        if (tree == FREED_BY_SCOPE) {
            throw new SavedTensorException("backward of " + name() + ": its saved tensors were freed when the outermost"
                    + " scope closed\n  fix: run backward inside the scope, or keep the loss with scope.keep(loss).");
        }
        if (tree == SAVING_FAILED) {
            throw new SavedTensorException("backward of " + name() + ": it wrote in place, but then its saveForBackward"
                    + " failed, so that there is nothing to compute gradients from"
                    + "\n  fix: see the exception of that call; run the forward again.");
        }
        boolean packed = false;
        for (int i = 0; i < savedTensors.size(); i++) {
            SavedTensor slot = savedTensors.get(i);
            if (slot.isPacked()) {
                packed = true;
            } else {
                slot.unpack(name(), i, this);
            }
        }
        Saved kept = (Saved) tree;
        if (!packed) {
            return kept;
        }
        int[] next = {0};
        return kept.map(op, t -> {
            int i = next[0]++;
            return savedTensors.get(i).unpack(name(), i, this);
        });
    }

    /** Saved tensors, unpacked, for tests and for {@code checkpoint}. */
    List<SavedTensor> savedTensors() {
        return savedTensors;
    }

    @Override
    void release(ThreadState memory) {
        release(memory, FREED_BY_BACKWARD);
    }

    @Override
    public void releaseByScope(ThreadState memory) {
        release(memory, FREED_BY_SCOPE);
    }

    private synchronized void release(ThreadState memory, Object reason) {
        if (savedTensors.isEmpty()) {
            return; // nothing to free: such a node may be gone through again
        }
        saved = reason;
        for (SavedTensor slot : savedTensors) {
            slot.release(memory);
        }
        savedTensors = List.of();
    }

    @Override
    public void escape() {
        for (SavedTensor slot : savedTensors) {
            slot.escape();
        }
    }

    /** Gradients of the inputs of an expansion that was run again. */
    public static @Nullable Tensor[] vjp(
            Tensor[] outputs,
            @Nullable Tensor[] gradients,
            @Nullable Tensor[] inputs,
            boolean[] needed,
            boolean createGraph) {
        ArrayList<Tensor> roots = new ArrayList<>();
        ArrayList<Tensor> seeds = new ArrayList<>();
        for (int i = 0; i < outputs.length; i++) {
            Tensor g = gradients[i];
            if (g != null && outputs[i].requiresGrad()) {
                roots.add(outputs[i]);
                seeds.add(g);
            }
        }
        ArrayList<Tensor> wanted = new ArrayList<>();
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && needed[i] && t.requiresGrad()) {
                wanted.add(t);
            }
        }
        @Nullable Tensor[] result = new Tensor[inputs.length];
        if (roots.isEmpty() || wanted.isEmpty()) {
            return result;
        }
        List<Tensor> found = Gradients.of("grad", roots, wanted, seeds, false, createGraph, true);
        int k = 0;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && needed[i] && t.requiresGrad()) {
                result[i] = found.get(k++);
            }
        }
        return result;
    }
}
