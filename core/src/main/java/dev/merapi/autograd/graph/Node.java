// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphNode;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * One recorded operation: edges to the nodes that made its inputs, and what its outputs look like. The edges point from
 * outputs to inputs, the way gradients travel. A node's sequence is greater than that of all nodes it points to.
 */
public abstract class Node implements dev.merapi.autograd.Node, GraphNode {
    private static final Node[] NO_NODES = new Node[0];

    private final String name;
    private @Nullable Node[] next = NO_NODES;
    private int[] nextIndex = new int[0];
    private int sequence;
    private Tensor[] outputs;
    private @Nullable Throwable origin;
    private volatile @Nullable List<List<UnaryOperator<Tensor>>> outputHooks;
    private volatile @Nullable List<AutogradMeta> retained;
    private volatile @Nullable List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> nodeHooks;
    private volatile @Nullable List<Function<List<Tensor>, @Nullable List<Tensor>>> preHooks;
    /** The task of the backward pass that visits this node; claimed by one pass at a time. */
    volatile BackwardPass.@Nullable Task task;

    final synchronized boolean claim(BackwardPass.Task claimed) {
        if (task != null) {
            return false;
        }
        task = claimed;
        return true;
    }

    /** @param outputs per output a tensor without memory that has its shape, dtype and device */
    Node(String name, Tensor[] outputs) {
        this.name = name;
        this.outputs = outputs;
        Context context = Context.current();
        if (context.isAnomaly()) {
            origin = new Throwable("forward call of " + name);
        }
    }

    /** Sets the edges to the nodes of these inputs; a null stands for one that needs no gradient. */
    final void connect(@Nullable Tensor[] inputs) {
        @Nullable Node[] nodes = new Node[inputs.length];
        int[] indices = new int[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            AutogradMeta m = t == null ? null : AutogradMeta.of(t);
            Edge edge = m == null || t == null ? null : m.edge(t);
            if (edge != null) {
                nodes[i] = edge.node();
                indices[i] = edge.output();
            }
        }
        connect(nodes, indices);
    }

    final void connect(@Nullable Node[] nodes, int[] indices) {
        next = nodes;
        nextIndex = indices;
        int s = 0;
        for (Node n : nodes) {
            if (n != null && n.sequence >= s) {
                s = n.sequence + 1;
            }
        }
        sequence = s;
    }

    /**
     * Turns gradients of the outputs into gradients of the inputs.
     *
     * @param gradients per output; null where none arrived
     * @param needed per input, whether this pass wants it
     * @return per input, null where there is none; new handles are not required
     */
    abstract @Nullable Tensor[] backward(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass);

    /** Lets go of what was saved, after the last use. */
    void release(ThreadState memory) {}

    @Override
    public void releaseByScope(ThreadState memory) {
        release(memory);
    }

    @Override
    public void escape() {}

    @Override
    public final String name() {
        return name;
    }

    @Override
    public final int inputs() {
        return next.length;
    }

    @Override
    public final @Nullable Node next(int i) {
        return next[i];
    }

    final int nextIndex(int i) {
        return nextIndex[i];
    }

    /** What messages call input {@code i}. */
    String inputName(int i) {
        return "input " + i;
    }

    /** What messages call the saved tensor at {@code position}. */
    String savedName(int position) {
        return "saved tensor " + position;
    }

    final int sequence() {
        return sequence;
    }

    final int outputCount() {
        return outputs.length;
    }

    /** Shape, dtype and device of an output. */
    @Override
    public final Tensor output(int i) {
        return outputs[i];
    }

    final Tensor[] outputs() {
        return outputs;
    }

    final Shape shape(int i) {
        return outputs[i].shape();
    }

    final DType dtype(int i) {
        return outputs[i].dtype();
    }

    final Device device(int i) {
        return outputs[i].device();
    }

    final @Nullable Throwable origin() {
        return origin;
    }

    public synchronized Runnable addOutputHook(int output, UnaryOperator<Tensor> hook) {
        if (outputHooks == null) {
            outputHooks = new ArrayList<>();
        }
        while (outputHooks.size() < outputs.length) {
            outputHooks.add(List.of());
        }
        List<UnaryOperator<Tensor>> changed = new ArrayList<>(outputHooks.get(output));
        changed.add(hook);
        outputHooks.set(output, changed);
        return () -> {
            synchronized (this) {
                List<UnaryOperator<Tensor>> rest = new ArrayList<>(
                        java.util.Objects.requireNonNull(outputHooks).get(output));
                rest.remove(hook);
                outputHooks.set(output, rest);
            }
        };
    }

    // The usual node has no hooks and retains nothing: that is seen without the lock.

    List<UnaryOperator<Tensor>> outputHooks(int output) {
        if (outputHooks == null) {
            return List.of();
        }
        synchronized (this) {
            return java.util.Objects.requireNonNull(outputHooks).get(output);
        }
    }

    synchronized void retain(AutogradMeta meta) {
        if (retained == null) {
            retained = new ArrayList<>();
        }
        retained.add(meta);
    }

    synchronized void forget(AutogradMeta meta) {
        if (retained != null) {
            retained.removeIf(m -> m == meta);
        }
    }

    List<AutogradMeta> retained() {
        if (retained == null) {
            return List.of();
        }
        synchronized (this) {
            return List.copyOf(java.util.Objects.requireNonNull(retained));
        }
    }

    /**
     * Runs after this node: sees the gradients of the inputs and of the outputs (absent ones are null) and may return
     * other gradients of the inputs. Returns what removes it.
     */
    @Override
    public final synchronized Runnable addHook(BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>> hook) {
        List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> changed =
                nodeHooks == null ? new ArrayList<>() : new ArrayList<>(nodeHooks);
        changed.add(hook);
        nodeHooks = changed;
        return () -> {
            synchronized (this) {
                List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> rest =
                        new ArrayList<>(java.util.Objects.requireNonNull(nodeHooks));
                rest.remove(hook);
                nodeHooks = rest;
            }
        };
    }

    /**
     * Runs before this node: sees the gradients of its outputs (absent ones are null) and may return others in their
     * place. Returns what removes it.
     */
    @Override
    public final synchronized Runnable addPreHook(Function<List<Tensor>, @Nullable List<Tensor>> hook) {
        List<Function<List<Tensor>, @Nullable List<Tensor>>> changed = new ArrayList<>(preHooks());
        changed.add(hook);
        preHooks = changed;
        return () -> {
            synchronized (this) {
                List<Function<List<Tensor>, @Nullable List<Tensor>>> rest = new ArrayList<>(preHooks());
                rest.remove(hook);
                preHooks = rest;
            }
        };
    }

    final List<Function<List<Tensor>, @Nullable List<Tensor>>> preHooks() {
        List<Function<List<Tensor>, @Nullable List<Tensor>>> hooks = preHooks;
        return hooks == null ? List.of() : hooks;
    }

    final List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> nodeHooks() {
        List<BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>>> hooks = nodeHooks;
        return hooks == null ? List.of() : hooks;
    }

    @Override
    public String toString() {
        return name;
    }
}
