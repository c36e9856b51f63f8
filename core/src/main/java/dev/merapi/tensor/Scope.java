// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphNode;
import dev.merapi.dispatch.GraphPlace;
import dev.merapi.op.tree.Tree;
import dev.merapi.storage.MemoryBlock;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Objects;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Exact and fast release of memory: {@code try (var step = Scope.open()) { … }} closes at its end every tensor that its
 * thread made in it and that was not kept. What the engine stores (leaf gradients, saved values, optimiser state) leaves
 * the scope by itself. When the outermost scope ends, the saved tensors of graphs that no surviving tensor reaches are
 * freed too.
 *
 * <p>A scope belongs to the thread that opened it, and ends also by an exception. A scope that ends takes those inside it
 * along that nobody closed. The engine opens scopes of its own around kernels, formulas and hooks: what these leave open
 * ends with them, and they cannot close a scope around them.
 */
public final class Scope implements AutoCloseable {
    private static final Tensor[] NO_TENSORS = new Tensor[0];
    private static final GraphNode[] NO_NODES = new GraphNode[0];

    private final Context context;
    private final @Nullable Scope parent;
    /** The outermost scope that a user opened; graph nodes live as long as it. Null within a backward pass alone. */
    private final @Nullable Scope root;

    private Tensor[] owned;
    private int count;
    private GraphNode[] nodes = NO_NODES;
    private int nodeCount;
    /** Of an outermost scope: nodes that made tensors which left it, or a scope inside it, and live on. */
    private @Nullable Set<GraphNode> survivors;

    private final boolean ofEngine;
    private boolean closed;

    private Scope(Context context, boolean ofEngine) {
        this.context = context;
        this.ofEngine = ofEngine;
        this.parent = context.scope();
        this.owned = ofEngine ? NO_TENSORS : new Tensor[16]; // most kernels make none
        this.root = parent != null ? parent.root : ofEngine ? null : this;
    }

    /**
     * Opens a scope on this thread, inside the one that is open already, if any.
     *
     * @return the scope, to be closed by this thread
     */
    public static Scope open() {
        return open(Context.current(), false);
    }

    /** A scope of the engine's own, around a backward formula for instance: graphs that are made in it outlive it. */
    static Scope openInternal(Context context) {
        return open(context, true);
    }

    private static Scope open(Context context, boolean ofEngine) {
        Scope scope = new Scope(context, ofEngine);
        context.setScope(scope);
        return scope;
    }

    /**
     * Runs {@code body} in a scope; the tensors in what it returns survive.
     *
     * @param <T> what the work returns: a tensor, or a list, map or record of tensors
     * @param body the work
     * @return what {@code body} returned
     */
    public static <T extends @Nullable Object> T scoped(Supplier<T> body) {
        Objects.requireNonNull(body, "body");
        try (Scope scope = open()) {
            return scope.keep(body.get());
        }
    }

    /**
     * Lets the tensors of a tree (a tensor, list, map or record of them) outlive this scope: they belong to the one
     * around it, or to nobody if there is none, and then live until they are closed or unreachable.
     *
     * @param <T> the tree's type
     * @param tree a tensor, list, map or record; tensors of other scopes in it stay where they are
     * @return the tree
     * @throws IllegalStateException if this scope is closed, or by another thread than the one that opened it
     */
    public <T extends @Nullable Object> T keep(T tree) {
        requireOpen("keep");
        if (tree instanceof Tensor t) {
            keepOne(t);
        } else {
            Tree.forEach(tree, null, this::keepOne);
        }
        return tree;
    }

    private void keepOne(Tensor t) {
        Scope owner = t.scope;
        if (owner == null || !isWithin(owner)) {
            return;
        }
        if (parent != null) {
            parent.add(t);
        } else {
            t.leaveScope();
        }
    }

    /** True if {@code inner} is this scope or lies inside it. */
    private boolean isWithin(Scope inner) {
        for (Scope s = inner; s != null; s = s.parent) {
            if (s == this) {
                return true;
            }
        }
        return false;
    }

    void add(Tensor t) {
        if (count == owned.length) {
            compact();
        }
        t.scope = this;
        owned[count++] = t;
    }

    private void compact() {
        int n = 0;
        for (int i = 0; i < count; i++) {
            Tensor t = owned[i];
            if (t.scope == this && !t.isClosed()) {
                owned[n++] = t;
            }
        }
        Arrays.fill(owned, n, count, null);
        count = n;
        if (n >= owned.length / 2) {
            owned = Arrays.copyOf(owned, Math.max(4, owned.length * 2));
        }
    }

    /** A graph node that was made inside; the outermost scope remembers it. */
    void addNode(GraphNode node) {
        Scope r = root;
        if (r == null) {
            node.escape();
            return;
        }
        if (r.nodeCount == r.nodes.length) {
            r.nodes = Arrays.copyOf(r.nodes, Math.max(4, r.nodeCount * 2));
        }
        r.nodes[r.nodeCount++] = node;
    }

    /** A tensor that outlives all scopes: what its graph has saved must live on too. */
    void leave(Tensor t) {
        GraphPlace place = t.autograd();
        GraphNode node = root == null || place == null ? null : place.gradFn();
        if (root != null && node != null) {
            if (root.survivors == null) {
                root.survivors = Collections.newSetFromMap(new IdentityHashMap<>());
            }
            root.survivors.add(node);
        }
    }

    /**
     * Closes what was made in this scope and not kept. Idempotent.
     *
     * @throws IllegalStateException on another thread than the one that opened it, or by a kernel, formula or hook that
     *     runs inside it
     */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        endInner("close");
        closed = true;
        context.setScope(parent);
        ThreadState memory = context.memory();
        try {
            if (nodeCount > 0) {
                releaseNodes(memory);
            }
        } finally {
            releaseTensors(memory);
            owned = NO_TENSORS;
        }
    }

    /**
     * Closes what was made in this scope and in those inside it that are still open, and stays open itself: for one
     * scope of the engine's that serves many steps in turn.
     *
     * @throws IllegalStateException as {@link #close}, and if this scope is closed
     */
    public void clear() {
        requireOpen("clear");
        endInner("clear");
        releaseTensors(context.memory());
    }

    /** {@return whether this scope is closed} */
    public boolean isClosed() {
        return closed;
    }

    private void requireOpen(String what) {
        requireThread(what);
        if (closed) {
            throw new IllegalStateException("scope: " + what + " after it was closed\n  fix: " + what
                    + " before the scope ends, inside of the try block.");
        }
    }

    private void requireThread(String what) {
        if (Context.current() != context) {
            throw new IllegalStateException("scope: " + what + " by thread "
                    + Thread.currentThread().getName()
                    + ", but another one opened it\n  fix: open, use and close a scope on one thread.");
        }
    }

    /** Ends the scopes inside this one; refuses, before anything has changed, what would pull the rug from the engine. */
    private void endInner(String what) {
        if (ofEngine && context.scope() == this) {
            return; // never in a user's hands: on its thread
        }
        requireThread(what);
        Scope inner = context.scope();
        while (inner != null && inner != this && !inner.ofEngine) {
            inner = inner.parent;
        }
        if (inner != this) {
            throw new IllegalStateException("scope: " + what + " by a kernel, formula or hook that runs inside it"
                    + "\n  fix: close the scope where it was opened; what is made inside a kernel or formula and not"
                    + " returned is closed anyway.");
        }
        while (context.scope() != this) {
            java.util.Objects.requireNonNull(context.scope()).close();
        }
    }

    /**
     * After code that is not the engine's: closes what it left open, from the thread's innermost scope up to, not
     * including, {@code before}; what is in {@code result} moves out.
     */
    static void unwind(Context context, @Nullable Scope before, @Nullable Object result) {
        for (Scope s = context.scope(); s != null && s != before; s = context.scope()) {
            if (result != null) {
                s.keep(result);
            }
            s.close();
        }
    }

    private void releaseTensors(ThreadState memory) {
        if (count == 0) {
            return;
        }
        MemoryBlock[] freed = new MemoryBlock[Math.min(count, 256)];
        int n = 0;
        for (int i = 0; i < count; i++) {
            Tensor t = owned[i];
            if (t.scope != this) {
                continue;
            }
            MemoryBlock block = t.closeLater(memory);
            if (block != null) {
                if (n == freed.length) {
                    Storage.retire(memory, freed, n);
                    n = 0;
                }
                freed[n++] = block;
            }
        }
        Storage.retire(memory, freed, n);
        Arrays.fill(owned, 0, count, null);
        count = 0;
    }

    /** Frees what the nodes of this outermost scope have saved, unless a surviving tensor's graph leads to them. */
    private void releaseNodes(ThreadState memory) {
        Set<GraphNode> reached = Set.of();
        if (survivors != null) {
            reached = Collections.newSetFromMap(new IdentityHashMap<>());
            for (GraphNode node : survivors) {
                reach(node, reached);
            }
            survivors = null;
        }
        for (int i = 0; i < nodeCount; i++) {
            if (reached.isEmpty() || !reached.contains(nodes[i])) {
                nodes[i].releaseByScope(memory);
            } else {
                nodes[i].escape();
            }
        }
        nodes = NO_NODES;
        nodeCount = 0;
    }

    private static void reach(GraphNode from, Set<GraphNode> reached) {
        if (!reached.add(from)) {
            return;
        }
        ArrayDeque<GraphNode> open = new ArrayDeque<>();
        open.add(from);
        while (!open.isEmpty()) {
            GraphNode node = open.poll();
            for (int i = 0; i < node.inputs(); i++) {
                GraphNode next = node.next(i);
                if (next != null && reached.add(next)) {
                    open.add(next);
                }
            }
        }
    }
}
