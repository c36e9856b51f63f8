// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.dispatch.Observer;
import dev.merapi.error.GradientException;
import dev.merapi.error.OpError;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * One run of backward on the calling thread.
 *
 * <p>A first walk finds the nodes below the roots and counts, for each, how many edges lead to it; then nodes run as soon
 * as all of their gradients are there, the deepest first, so that order and sums are the same on every run. Nothing
 * recurses, so depth is limited by memory only. Gradients in flight are handles of the engine's; each node runs in a scope
 * of its own, and lets go of what it saved as soon as it is done.
 */
public final class BackwardPass {
    /** What a pass is for: all leaves below its roots; some of them; or gradients that are returned. */
    public enum Aim {
        ALL_LEAVES,
        SOME_LEAVES,
        RESULT
    }

    /** A node in this pass. */
    static final class Task {
        final Node node;
        final BackwardPass pass;
        final int order;

        @Nullable
        Tensor[] gradients;
        /** Which of them only this pass has seen, so that it may add to them in place: a bit for each of the first 64. */
        long owned;

        int waitingFor;
        boolean needed;
        boolean wanted; // the end of a leaf that accumulates in a pass for some leaves only
        int[] captureTargets = NONE;
        int[] captureOutputs = NONE;

        Task(Node node, BackwardPass pass, int order) {
            this.node = node;
            this.pass = pass;
            this.order = order;
            this.gradients = new Tensor[node.outputCount()];
        }

        boolean owns(int output) {
            return output < Long.SIZE && (owned >> output & 1) != 0;
        }

        void own(int output, boolean yes) {
            if (output < Long.SIZE) {
                owned = yes ? owned | 1L << output : owned & ~(1L << output);
            }
        }
    }

    private static final int[] NONE = {};

    private final Context context = Context.current();
    private final boolean retainGraph;
    private final boolean createGraph;
    private final Aim aim;
    private final List<Task> tasks = new ArrayList<>();
    private @Nullable Map<Node, Task> contended; // tasks of nodes that a pass of another thread has claimed
    private @Nullable List<Runnable> atEnd;
    private @Nullable Tensor[] captures = new Tensor[0];

    public BackwardPass(boolean retainGraph, boolean createGraph, Aim aim) {
        this.retainGraph = retainGraph;
        this.createGraph = createGraph;
        this.aim = aim;
    }

    /** Whether somebody may go through the graph again after this pass. */
    boolean keepsGraph() {
        return retainGraph || createGraph;
    }

    boolean createsGraph() {
        return createGraph;
    }

    /** Runs {@code action} when the backward pass that this thread is in has finished; at once if it is in none. */
    public static void atEnd(Runnable action) {
        if (!(Context.current().backwardPass() instanceof BackwardPass pass)) {
            action.run();
        } else {
            pass.addAtEnd(List.of(action));
        }
    }

    private void addAtEnd(List<Runnable> actions) {
        List<Runnable> all = atEnd == null ? new ArrayList<>() : atEnd;
        all.addAll(actions);
        atEnd = all;
    }

    /**
     * Sends gradients down from the roots.
     *
     * @param inputs the leaves that accumulate, or the tensors whose gradients are returned; null for all leaves
     */
    @Nullable
    public Tensor[] run(Tensor[] roots, Tensor[] gradients, Tensor @Nullable [] inputs) {
        BackwardPass outer = (BackwardPass) context.setBackwardPass(this);
        @Nullable Tensor[] result = walk(roots, gradients, inputs, outer);
        finish(outer);
        return result;
    }

    private @Nullable Tensor[] walk(
            Tensor[] roots, Tensor[] gradients, Tensor @Nullable [] inputs, @Nullable BackwardPass outer) {
        boolean gradBefore = context.setGradEnabled(createGraph);
        boolean inference = context.setInference(context.isInference() && !createGraph);
        int level = context.ascendToAutograd();
        boolean paused = context.setAutocastPaused(true); // formulas run in the dtypes that their forward call had
        Scope scope = TENSORS.openScope(context);
        try {
            List<Task> rootTasks = new ArrayList<>();
            for (int i = 0; i < roots.length; i++) {
                AutogradMeta m = java.util.Objects.requireNonNull(AutogradMeta.of(roots[i]));
                Edge edge = java.util.Objects.requireNonNull(m.edge(roots[i]));
                int known = tasks.size();
                Task task = task(edge.node());
                rootTasks.add(task);
                if (task.order == known) { // else it was reached before, and counts its edges already
                    discover(task);
                }
                deliver(task, edge.output(), gradients[i]);
            }
            if (inputs != null) {
                captures = new Tensor[aim == Aim.RESULT ? inputs.length : 0];
                for (int i = 0; i < inputs.length; i++) {
                    addInput(inputs[i], i);
                }
            }
            markNeeded();
            runReady(rootTasks);
            @Nullable Tensor[] result = captures;
            separate(result, gradients);
            for (Tensor t : result) {
                if (t != null) {
                    scope.keep(TENSORS.joinScope(t, context));
                }
            }
            return result;
        } finally {
            for (Task task : tasks) {
                if (task.node.task == task) {
                    task.node.task = null;
                }
                for (Tensor g : task.gradients) {
                    if (g != null) {
                        g.close();
                    }
                }
            }
            scope.close();
            context.setAutocastPaused(paused);
            context.restoreLevel(level);
            context.setInference(inference);
            context.setGradEnabled(gradBefore);
            context.setBackwardPass(outer);
        }
    }

    /** After the pass, if it went well: what waits for its end runs now, or with the pass that this one was part of. */
    private void finish(@Nullable BackwardPass outer) {
        List<Runnable> actions = atEnd;
        if (actions != null && outer != null) {
            outer.addAtEnd(actions);
        } else if (actions != null) {
            Scope scope = context.scope();
            try {
                actions.forEach(Runnable::run);
            } finally {
                TENSORS.unwind(context, scope, null);
            }
        }
    }

    private Task task(Node node) {
        Task task = node.task;
        if (task != null && task.pass == this) {
            return task;
        }
        task = contended == null ? null : contended.get(node);
        if (task != null) {
            return task;
        }
        task = new Task(node, this, tasks.size());
        tasks.add(task);
        if (!node.claim(task)) {
            Map<Node, Task> map = contended == null ? new IdentityHashMap<>() : contended;
            map.put(node, task);
            contended = map;
        }
        return task;
    }

    private @Nullable Task known(Node node) {
        Task task = node.task;
        return task != null && task.pass == this ? task : contended == null ? null : contended.get(node);
    }

    private void discover(Task root) {
        for (int open = root.order; open < tasks.size(); open++) { // each new task is added at the end
            Node node = tasks.get(open).node;
            for (int i = 0; i < node.inputs(); i++) {
                Node next = node.next(i);
                if (next != null) {
                    task(next).waitingFor++;
                }
            }
        }
    }

    private void addInput(Tensor input, int target) {
        AutogradMeta m = AutogradMeta.of(input);
        Edge edge = m == null ? null : m.edge(input);
        Task task = edge == null ? null : known(edge.node());
        if (task == null || edge == null) {
            return; // not reached: no gradient
        }
        if (aim == Aim.SOME_LEAVES) {
            task.wanted = true;
            return;
        }
        int n = task.captureTargets.length;
        task.captureTargets = Arrays.copyOf(task.captureTargets, n + 1);
        task.captureOutputs = Arrays.copyOf(task.captureOutputs, n + 1);
        task.captureTargets[n] = target;
        task.captureOutputs[n] = edge.output();
    }

    /** A node is needed if it leads to something that was asked for; in an ordinary pass all are. */
    private void markNeeded() {
        if (aim == Aim.ALL_LEAVES) {
            for (Task t : tasks) {
                t.needed = true;
            }
            return;
        }
        List<Task> bySequence = new ArrayList<>(tasks);
        bySequence.sort((a, b) -> Integer.compare(a.node.sequence(), b.node.sequence()));
        for (Task t : bySequence) {
            boolean leads = t.wanted;
            for (int i = 0; i < t.node.inputs() && !leads; i++) {
                Node next = t.node.next(i);
                Task below = next == null ? null : known(next);
                leads = below != null && (below.needed || below.captureTargets.length > 0);
            }
            t.needed = leads;
        }
    }

    private void runReady(List<Task> roots) {
        PriorityQueue<Task> ready = new PriorityQueue<>((a, b) -> {
            int bySequence = Integer.compare(b.node.sequence(), a.node.sequence());
            return bySequence != 0 ? bySequence : Integer.compare(a.order, b.order);
        });
        for (Task t : roots) {
            if (t.waitingFor == 0 && !ready.contains(t)) {
                ready.add(t);
            }
        }
        try (Scope scope = TENSORS.openScope(context)) {
            while (!ready.isEmpty()) {
                run(ready.poll(), ready, scope);
            }
        }
    }

    /** @param scope what the node makes belongs to it until the node is done */
    private void run(Task task, PriorityQueue<Task> ready, Scope scope) {
        Node node = task.node;
        applyOutputHooks(task);
        capture(task);
        if (task.needed) {
            runNode(task, scope);
        }
        for (int i = 0; i < node.inputs(); i++) {
            Node next = node.next(i);
            if (next != null) {
                Task below = java.util.Objects.requireNonNull(known(next));
                if (--below.waitingFor == 0) {
                    ready.add(below);
                }
            }
        }
        for (int i = 0; i < task.gradients.length; i++) {
            Tensor g = task.gradients[i];
            if (g != null) {
                task.gradients[i] = null;
                g.close();
            }
        }
    }

    private void runNode(Task task, Scope scope) {
        Node node = task.node;
        boolean any = false;
        for (Tensor g : task.gradients) {
            any |= g != null;
        }
        ThreadState memory = context.memory();
        if (!any) {
            if (!retainGraph) {
                node.release(memory);
            }
            return; // no gradient arrived on any path: nothing flows on
        }
        boolean[] needed = new boolean[node.inputs()];
        for (int i = 0; i < needed.length; i++) {
            Node next = node.next(i);
            if (next != null) {
                Task below = java.util.Objects.requireNonNull(known(next));
                needed[i] = below.needed || below.captureTargets.length > 0;
            }
        }
        try {
            if (!node.preHooks().isEmpty()) {
                applyPreHooks(task);
            }
            @Nullable Tensor[] result = backward(node, task.gradients, needed);
            List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> hooks = node.nodeHooks();
            if (!hooks.isEmpty()) {
                result = applyNodeHooks(node, hooks, result, task.gradients);
            }
            for (int i = 0; i < result.length; i++) {
                Tensor g = result[i];
                Node next = node.next(i);
                if (g != null && next != null && needed[i]) {
                    if (context.isAnomaly()) {
                        GradientChecks.refuseNaN(node, i, g);
                    }
                    Tensor fitted = GradientChecks.fit(node, i, g, next.output(node.nextIndex(i)));
                    deliver(java.util.Objects.requireNonNull(known(next)), node.nextIndex(i), fitted);
                }
            }
        } catch (RuntimeException e) {
            if (node.origin() != null) {
                e.addSuppressed(node.origin());
            }
            throw OpError.in("backward of " + node, e);
        } finally {
            scope.clear();
        }
        if (!retainGraph) {
            node.release(memory);
        }
    }

    private @Nullable Tensor[] backward(Node node, @Nullable Tensor[] gradients, boolean[] needed) {
        Observer observer = context.observer();
        if (observer == null) {
            return node.backward(gradients, needed, this);
        }
        observer.begin(Observer.Work.BACKWARD, node);
        try {
            return node.backward(gradients, needed, this);
        } finally {
            observer.end();
        }
    }

    /** Stores a gradient of an output, or adds it to what is there. */
    private void deliver(Task task, int output, Tensor gradient) {
        Tensor there = task.gradients[output];
        if (there == null) {
            Tensor handle = TENSORS.engineHandle(gradient);
            if (!createGraph) {
                TENSORS.setAutograd(handle, null); // a seed may have a graph of its own
            }
            task.gradients[output] = handle;
            task.own(output, false);
            return;
        }
        Tensor sum;
        if (!createGraph
                && there.layout().isInjective()
                && (task.owns(output)
                        || !there.isMeta() && TENSORS.storage(there).isExclusive())) {
            there.add_(gradient);
            return;
        }
        sum = TENSORS.engineHandle(there.add(gradient));
        task.gradients[output] = sum;
        task.own(output, true);
        there.close();
    }

    private void applyOutputHooks(Task task) {
        Node node = task.node;
        for (int i = 0; i < task.gradients.length; i++) {
            Tensor g = task.gradients[i];
            List<UnaryOperator<Tensor>> hooks =
                    node instanceof AccumulateGrad leaf ? leaf.leaf().hooks() : node.outputHooks(i);
            if (g == null || hooks.isEmpty()) {
                continue;
            }
            try (Scope scope = TENSORS.openScope(context)) {
                Tensor given = TENSORS.joinScope(TENSORS.engineHandle(g), context); // leaveScope() keeps it
                Tensor current = given;
                for (UnaryOperator<Tensor> hook : hooks) {
                    Tensor replaced = hook.apply(current);
                    if (replaced != null && replaced != current) {
                        GradientChecks.sameForm(node, current, replaced);
                        current = replaced;
                    }
                }
                if (current != given) {
                    task.gradients[i] = TENSORS.engineHandle(current);
                    g.close();
                }
                task.own(i, false);
            }
        }
        for (AutogradMeta m : node.retained()) {
            Edge edge = m.recorded();
            if (edge != null && edge.node() == node && task.gradients[edge.output()] != null) {
                accumulate(m, task.gradients[edge.output()], node.output(edge.output()));
            }
        }
    }

    private void applyPreHooks(Task task) {
        for (Function<List<Tensor>, @Nullable List<Tensor>> hook : task.node.preHooks()) {
            @Nullable Tensor[] seen = task.gradients.clone();
            for (int i = 0; i < seen.length; i++) {
                seen[i] = seen[i] == null ? null : TENSORS.joinScope(TENSORS.engineHandle(seen[i]), context);
            }
            List<Tensor> replaced = hook.apply(Arrays.asList(seen.clone()));
            if (replaced == null) {
                continue;
            }
            if (replaced.size() != seen.length) {
                throw new GradientException("hook before " + task.node + ": returned " + replaced.size()
                        + " gradients for " + seen.length + " outputs");
            }
            for (int i = 0; i < seen.length; i++) {
                Tensor g = replaced.get(i);
                Tensor before = task.gradients[i];
                if (g == seen[i] || g == null) {
                    continue;
                }
                GradientChecks.sameForm(task.node, task.node.output(i), g);
                task.gradients[i] = TENSORS.engineHandle(g);
                if (before != null) {
                    before.close();
                }
            }
        }
    }

    private static @Nullable Tensor[] applyNodeHooks(
            Node node,
            List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> hooks,
            @Nullable Tensor[] inputs,
            @Nullable Tensor[] outputs) {
        @Nullable Tensor[] current = inputs;
        for (BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>> hook : hooks) {
            List<Tensor> replaced = hook.apply(Arrays.asList(current.clone()), Arrays.asList(outputs.clone()));
            if (replaced != null) {
                if (replaced.size() != current.length) {
                    throw new GradientException("hook on " + node + ": returned " + replaced.size() + " gradients for "
                            + current.length + " inputs");
                }
                current = replaced.toArray(new Tensor[0]);
            }
        }
        return current;
    }

    private void capture(Task task) {
        for (int i = 0; i < task.captureTargets.length; i++) {
            Tensor g = task.gradients[task.captureOutputs[i]];
            if (g != null) {
                captures[task.captureTargets[i]] = TENSORS.engineHandle(g);
            }
        }
    }

    /** What is returned shares memory neither with what was given nor among itself: the caller may write to each of them. */
    private static void separate(@Nullable Tensor[] results, Tensor[] given) {
        if (results.length == 0) {
            return;
        }
        Set<Storage> taken = Collections.newSetFromMap(new IdentityHashMap<>());
        for (Tensor t : given) {
            if (!t.isMeta()) {
                taken.add(TENSORS.storage(t));
            }
        }
        for (int i = 0; i < results.length; i++) {
            Tensor t = results[i];
            // An expanded one cannot be written to.
            if (t != null
                    && !t.isMeta()
                    && !taken.add(TENSORS.storage(t))
                    && t.layout().isInjective()) {
                results[i] = TENSORS.engineHandle(t.copy());
                t.close();
            }
        }
    }

    /** Adds to a leaf's gradient (or keeps a retained one), then fires the hooks that wait for that. */
    void accumulate(AutogradMeta meta, Tensor gradient, Tensor like) {
        if (aim == Aim.RESULT && meta.requiresGrad) {
            return; // gradients are returned, leaves stay as they are
        }
        Tensor moved = meta.successor();
        if (moved != null) { // since the forward pass
            if (moved.requiresGrad()) {
                accumulate(
                        AutogradMeta.variable(moved),
                        gradient.to(moved.dtype()).to(moved.device()),
                        Tensor.meta(moved));
            }
            return;
        }
        GraphCapture capture = context.graphCapture();
        synchronized (meta) {
            Tensor there = meta.grad;
            if (there == null) {
                meta.grad = fresh(gradient);
                if (capture != null) {
                    Tensor made = meta.grad;
                    capture.onAbort(() -> forget(meta, made));
                }
            } else if (createGraph || !there.layout().isInjective()) {
                Tensor sum = TENSORS.engineHandle(there.add(gradient));
                meta.grad = sum.leaveScope();
                there.close();
            } else {
                there.add_(gradient);
                if (capture != null && !capture.owns(TENSORS.storage(there))) {
                    capture.require(
                            () -> meta.grad == there,
                            "it adds to the gradient of " + like.describe() + " as it was at the capture, but that"
                                    + " gradient was dropped or replaced since then");
                }
            }
        }
        for (Consumer<Tensor> hook : meta.accumulateHooks()) {
            hook.accept(java.util.Objects.requireNonNull(meta.grad));
        }
    }

    /** The gradient was never computed. */
    private static void forget(AutogradMeta meta, Tensor gradient) {
        synchronized (meta) {
            if (meta.grad == gradient) {
                meta.grad = null;
            }
        }
        gradient.close();
    }

    private Tensor fresh(Tensor gradient) {
        if (createGraph || gradient.isMeta()) {
            return TENSORS.engineHandle(gradient).leaveScope();
        }
        boolean ours = TENSORS.storage(gradient).isExclusive()
                && gradient.isContiguous()
                && TENSORS.storage(gradient).byteSize()
                        == gradient.numel() * gradient.dtype().byteSize();
        Tensor kept = ours ? TENSORS.engineHandle(gradient) : TENSORS.engineHandle(gradient.copy());
        TENSORS.setAutograd(kept, null);
        return kept.leaveScope();
    }
}
