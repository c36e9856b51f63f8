// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.GraphPlace;
import dev.merapi.tensor.Tensor;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A tensor's place in the graph: which node made it and as which output, or, for a leaf, its gradient. Shared by the
 * handles of one variable. For the engine.
 */
public class AutogradMeta implements GraphPlace {
    private static final VarHandle HISTORY; // a volatile field would cost a fence for each tensor that is made

    static {
        try {
            HISTORY = MethodHandles.lookup().findVarHandle(AutogradMeta.class, "history", Edge.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    volatile boolean requiresGrad; // of a leaf
    private volatile int changes; // of the same
    volatile @Nullable Tensor grad;
    /** Replaced as a whole, when an in-place op or a view that is derived again makes another; null for a leaf. */
    @SuppressWarnings("unused") // through HISTORY
    private @Nullable Edge history;

    /** Its tangents in the calls of forward mode that are under way; null if there were none. */
    volatile @Nullable Duals duals;

    private boolean retainsGrad; // guarded by this
    private volatile @Nullable AccumulateGrad accumulator;
    private volatile @Nullable List<UnaryOperator<Tensor>> hooks; // replaced as a whole, as is the next
    private volatile @Nullable List<Consumer<Tensor>> accumulateHooks;
    /** The leaf that took this one's place when a model moved; hooks and gradients go there. */
    private volatile @Nullable Tensor successor;

    public AutogradMeta() {}

    AutogradMeta(@Nullable Edge history) {
        HISTORY.setRelease(this, history);
    }

    AutogradMeta(Node gradFn, int output) {
        this(new Edge(gradFn, output));
    }

    /** A tensor's place, if it has one. */
    public static @Nullable AutogradMeta of(Tensor t) {
        return (AutogradMeta) TENSORS.autograd(t);
    }

    /** Whether an op made it: it is no leaf. */
    static boolean isMade(Tensor t) {
        AutogradMeta m = of(t);
        return m != null && m.gradFn() != null;
    }

    /** A tensor's place; a leaf's that wants no gradient if it had none. One, whoever asks at once. */
    static AutogradMeta variable(Tensor t) {
        GraphPlace known = TENSORS.autograd(t);
        return (AutogradMeta) (known != null ? known : TENSORS.autogradOr(t, new AutogradMeta()));
    }

    /** @param self a handle of this leaf */
    synchronized void setRequiresGrad(Tensor self, boolean wanted) {
        if (requiresGrad != wanted) {
            requiresGrad = wanted;
            countChange();
        }
    }

    final synchronized void countChange() {
        changes++;
    }

    /** How often a leaf, or one of its views as a leaf, began or ceased to want a gradient. */
    final int changes() {
        return changes;
    }

    /** What made this variable, as it is now; null for a leaf. */
    @Nullable
    public Edge history() {
        return recorded();
    }

    /** The same without a look at whether a view has to be derived again. */
    final @Nullable Edge recorded() {
        return (Edge) HISTORY.getAcquire(this);
    }

    @Override
    public final @Nullable Node gradFn() {
        Edge h = history();
        return h == null ? null : h.node();
    }

    /** After an in-place op: another node made what this variable is now. A retained gradient moves along. */
    final synchronized void setHistory(@Nullable Edge edge) {
        Edge before = recorded();
        if (retainsGrad && before != null) {
            before.node().forget(this);
        }
        HISTORY.setRelease(this, edge);
        if (retainsGrad && edge != null) {
            edge.node().retain(this);
        }
    }

    /** Keeps the gradient that comes by, of what is no leaf. */
    public final void retainGrad() {
        history(); // derived again before, if need be
        synchronized (this) {
            Edge h = recorded();
            if (h != null && !retainsGrad) {
                retainsGrad = true;
                h.node().retain(this);
            }
        }
    }

    @Override
    public final boolean requiresGradNow() {
        return requiresGrad || history() != null;
    }

    /** Where a gradient of this variable goes; null if none is wanted. */
    final @Nullable Edge edge(Tensor tensor) {
        Edge h = history();
        return h != null ? h : requiresGrad ? accumulator(tensor).edge() : null;
    }

    AccumulateGrad accumulator(Tensor tensor) {
        AccumulateGrad a = accumulator;
        return a != null ? a : makeAccumulator(tensor);
    }

    private synchronized AccumulateGrad makeAccumulator(Tensor tensor) {
        AccumulateGrad a = accumulator;
        if (a == null) {
            a = new AccumulateGrad(this, tensor);
            accumulator = a;
        }
        return a;
    }

    /** Another leaf takes this one's place, with its hooks. */
    final synchronized void moveTo(Tensor leaf) {
        AutogradMeta to = AutogradMeta.variable(leaf);
        to.hooks = hooks;
        to.accumulateHooks = accumulateHooks;
        successor = leaf;
    }

    final @Nullable Tensor successor() {
        return successor;
    }

    /** This leaf's place in the graph, or that of what took its place last. */
    private AutogradMeta latest() {
        Tensor next = successor;
        return next == null ? this : AutogradMeta.variable(next).latest();
    }

    public synchronized Runnable addHook(UnaryOperator<Tensor> hook) {
        List<UnaryOperator<Tensor>> next = hooks == null ? new ArrayList<>() : new ArrayList<>(hooks);
        next.add(hook);
        hooks = next;
        return () -> latest().removeHook(hook);
    }

    private synchronized void removeHook(UnaryOperator<Tensor> hook) {
        List<UnaryOperator<Tensor>> rest = new ArrayList<>(hooks == null ? List.of() : hooks);
        rest.remove(hook);
        hooks = rest;
    }

    public synchronized Runnable addAccumulateHook(Consumer<Tensor> hook) {
        List<Consumer<Tensor>> next = accumulateHooks == null ? new ArrayList<>() : new ArrayList<>(accumulateHooks);
        next.add(hook);
        accumulateHooks = next;
        return () -> latest().removeAccumulateHook(hook);
    }

    private synchronized void removeAccumulateHook(Consumer<Tensor> hook) {
        List<Consumer<Tensor>> rest = new ArrayList<>(accumulateHooks == null ? List.of() : accumulateHooks);
        rest.remove(hook);
        accumulateHooks = rest;
    }

    List<UnaryOperator<Tensor>> hooks() {
        List<UnaryOperator<Tensor>> all = hooks;
        return all == null ? List.of() : all;
    }

    List<Consumer<Tensor>> accumulateHooks() {
        List<Consumer<Tensor>> all = accumulateHooks;
        return all == null ? List.of() : all;
    }
}
