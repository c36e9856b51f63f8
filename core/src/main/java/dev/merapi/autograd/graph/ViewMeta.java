// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The place in the graph of a view.
 *
 * <p>Note [Views and in-place ops]: a view knows its base and how to make itself from it again (the chain of view ops).
 * An in-place write through any of them raises the version that they share and gives the base a new history; a view whose
 * version is behind re-derives its node from the base at its next use, and again when its base begins or ceases to want a
 * gradient: it would depend on who looked at the view in between otherwise. The base is kept as a handle that does not
 * count: the view itself keeps the storage alive.
 *
 * <p>A view that was made a leaf by {@code requiresGrad(true)} stands for itself: what is viewed of it derives from it and not
 * from the base, writes to it are refused as those to any leaf, and it ends when a recorded write gives the memory another
 * history. What is read from a view that was made without recording is a constant, but a write to it would be one to the base:
 * while recording is on it is refused.
 */
final class ViewMeta extends AutogradMeta {
    private final Tensor base;
    private final @Nullable ViewMeta parent;
    private final Definition<?, ?> op;
    private final Record args;
    private final boolean single;
    private final int output;
    private volatile @Nullable Leaf leaf;
    private volatile int versionSeen;
    /** The changes of the base that it was derived again after; −1 for never. */
    private volatile int changesSeen = -1;

    /** @param historyOfBase what had made the base when its view became a leaf: the same is there as long as it is one */
    private record Leaf(Tensor self, @Nullable Edge historyOfBase) {}

    ViewMeta(
            Tensor base,
            @Nullable ViewMeta parent,
            Definition<?, ?> op,
            Record args,
            int output,
            boolean single,
            @Nullable Node gradFn) {
        super(gradFn == null ? null : new Edge(gradFn, output));
        this.base = base;
        this.parent = parent;
        this.op = op;
        this.args = args;
        this.output = output;
        this.single = single && (parent == null || parent.single);
        this.versionSeen = base.version();
    }

    Tensor base() {
        return base;
    }

    /** False if this view, or one that it was made from, is one of several results of an op. */
    boolean isSingle() {
        return single;
    }

    /** Whether the base wants a gradient: what is written here is part of its history. */
    boolean isOfGraph() {
        return metaOfBase().requiresGradNow();
    }

    private AutogradMeta metaOfBase() {
        return AutogradMeta.variable(base);
    }

    @Override
    synchronized void setRequiresGrad(Tensor self, boolean wanted) {
        if (requiresGrad != wanted) {
            AutogradMeta b = metaOfBase();
            leaf = wanted ? new Leaf(TENSORS.uncountedHandle(self), b.recorded()) : null;
            super.setRequiresGrad(self, wanted);
            b.countChange(); // views of this one look again
        }
    }

    boolean isLeaf() {
        Leaf l = leaf;
        return l != null && l.historyOfBase == metaOfBase().recorded();
    }

    /** The nearest view that is a leaf among this one and those that it was made from; null if there is none. */
    @Nullable
    ViewMeta nearestLeaf() {
        ViewMeta v = this;
        while (v != null && !v.isLeaf()) {
            v = v.parent;
        }
        return v;
    }

    /** The same view of another tensor that has the base's shape. */
    Tensor replay(Tensor onto) {
        return replay(onto, null);
    }

    /** The same view of another tensor, which has the shape of {@code from}. */
    private Tensor replay(Tensor onto, @Nullable ViewMeta from) {
        Deque<ViewMeta> chain = new ArrayDeque<>(); // no recursion: it may be long
        for (ViewMeta v = this; v != null && v != from; v = v.parent) {
            chain.push(v);
        }
        Tensor seen = onto;
        for (ViewMeta v : chain) {
            seen = v.apply(v.op, v.args, seen);
        }
        return seen;
    }

    @SuppressWarnings("unchecked")
    private <A extends Record, R> Tensor apply(Definition<A, R> op, Record args, Tensor onto) {
        @Nullable Tensor[] tensors = op.schema().tensors(op.name(), args);
        int slot = viewedSlot(op, (A) args);
        tensors[slot] = onto;
        R result = op.op().call(op.schema().rebuild((A) args, tensors));
        return result instanceof List<?> list ? (Tensor) list.get(output) : (Tensor) result;
    }

    static <A extends Record, R> int viewedSlot(Definition<A, R> op, A args) {
        List<String> names = op.schema().tensorNames();
        if (names.size() == 1) {
            return 0;
        }
        int[] counts = op.slotCounts(args);
        int slot = 0;
        for (int i = 0; i < counts.length; i++) {
            if (names.get(i).equals(op.viewedArgument())) {
                return slot;
            }
            slot += counts[i];
        }
        throw new IllegalStateException(op.name() + ": viewed argument vanished; please report this");
    }

    /** Derives the node again if the shared memory was written since it was derived. */
    @Override
    @Nullable
    public Edge history() {
        if (isBehind()) {
            deriveAgain();
        }
        return recorded();
    }

    private boolean isBehind() {
        if (!base.isMeta() && !TENSORS.storage(base).isOpen()) {
            return false; // what is gone was not written since anybody could see it
        }
        return base.version() != versionSeen
                || changesSeen >= 0 && changesSeen != metaOfBase().changes();
    }

    private synchronized void deriveAgain() {
        int version = base.version();
        if (!isBehind()) {
            return; // another thread was faster
        }
        Edge fresh = null;
        int changes = metaOfBase().changes();
        ViewMeta from = nearestLeaf();
        if (from != null ? from != this : isOfGraph()) {
            Leaf l = from == null ? null : from.leaf;
            Context context = Context.current();
            Context.Snapshot before = context.capture();
            int unused = context.startAtAutograd();
            context.setGradEnabled(true);
            context.setInference(false);
            try (Scope scope = TENSORS.openScope(context)) {
                Tensor again = replay(l == null ? base : l.self, from);
                fresh = java.util.Objects.requireNonNull(AutogradMeta.of(again)).recorded();
            } finally {
                context.install(before);
            }
        }
        setHistory(fresh);
        changesSeen = changes;
        versionSeen = version;
    }
}
