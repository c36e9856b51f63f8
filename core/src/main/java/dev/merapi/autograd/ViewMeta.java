// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

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
 */
final class ViewMeta extends AutogradMeta {
    private final Tensor base;
    private final @Nullable ViewMeta parent;
    private final Definition<?, ?> op;
    private final Record args;
    private final boolean single;
    private final int output;
    private volatile int versionSeen;
    /** The changes of the base that it was derived again after; −1 for never. */
    private volatile int changesSeen = -1;

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

    /** The same view of another tensor that has the base's shape. */
    Tensor replay(Tensor onto) {
        Deque<ViewMeta> chain = new ArrayDeque<>(); // no recursion: it may be long
        for (ViewMeta v = this; v != null; v = v.parent) {
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
    Edge history() {
        if (isBehind() && !Context.current().isInference()) {
            deriveAgain();
        }
        return recorded();
    }

    private boolean isBehind() {
        if (!base.isMeta() && !base.storage().isOpen()) {
            return false; // what is gone was not written since anybody could see it
        }
        return base.version() != versionSeen || changesSeen >= 0 && changesSeen != changesOfBase();
    }

    private int changesOfBase() {
        AutogradMeta b = AutogradMeta.of(base);
        return b == null ? 0 : b.changes();
    }

    private synchronized void deriveAgain() {
        int version = base.version();
        if (!isBehind()) {
            return; // another thread was faster
        }
        Edge fresh = null;
        int changes = changesOfBase();
        AutogradMeta b = AutogradMeta.of(base);
        if (b != null && b.requiresGradNow()) {
            Context context = Context.current();
            Context.Snapshot before = context.capture();
            int unused = context.startAtAutograd();
            context.setGradEnabled(true);
            try (Scope scope = Scope.openInternal(context)) {
                fresh = java.util.Objects.requireNonNull(AutogradMeta.of(replay(base)))
                        .recorded();
            } finally {
                context.install(before);
            }
        }
        setHistory(fresh);
        changesSeen = changes;
        versionSeen = version;
    }
}
