// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A tensor's place in the graph: which node made it and as which output, or, for a leaf, its gradient. Shared by the
 * handles of one variable. For the engine.
 */
public class AutogradMeta {
    boolean requiresGrad; // of a leaf
    volatile @Nullable Tensor grad;

    @Nullable
    Node gradFn;

    int outputIndex;
    boolean retainsGrad;
    private volatile @Nullable AccumulateGrad accumulator;
    private volatile @Nullable List<UnaryOperator<Tensor>> hooks; // replaced as a whole, as is the next
    private volatile @Nullable List<Consumer<Tensor>> accumulateHooks;

    public AutogradMeta() {}

    AutogradMeta(@Nullable Node gradFn, int outputIndex) {
        this.gradFn = gradFn;
        this.outputIndex = outputIndex;
    }

    /** The node that made this variable; null for a leaf. */
    @Nullable
    Node gradFn() {
        return gradFn;
    }

    /** After an in-place op: another node made what this variable is now. A retained gradient moves along. */
    synchronized void setHistory(Node node, int index) {
        Node before = gradFn;
        if (retainsGrad && before != null) {
            before.forget(this);
        }
        gradFn = node;
        outputIndex = index;
        if (retainsGrad) {
            node.retain(this);
        }
    }

    boolean requiresGradNow() {
        return requiresGrad || gradFn() != null;
    }

    /** The node that a gradient of this variable goes to; null if none is wanted. */
    @Nullable
    Node edgeNode(Tensor tensor) {
        Node node = gradFn();
        return node != null ? node : requiresGrad ? accumulator(tensor) : null;
    }

    /** Which output of {@link #edgeNode} it is; a leaf is the only one of its own, whatever it is a view of. */
    int edgeIndex() {
        return gradFn == null ? 0 : outputIndex;
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

    synchronized Runnable addHook(UnaryOperator<Tensor> hook) {
        List<UnaryOperator<Tensor>> next = hooks == null ? new ArrayList<>() : new ArrayList<>(hooks);
        next.add(hook);
        hooks = next;
        return () -> {
            synchronized (this) {
                List<UnaryOperator<Tensor>> rest = new ArrayList<>(hooks == null ? List.of() : hooks);
                rest.remove(hook);
                hooks = rest;
            }
        };
    }

    synchronized Runnable addAccumulateHook(Consumer<Tensor> hook) {
        List<Consumer<Tensor>> next = accumulateHooks == null ? new ArrayList<>() : new ArrayList<>(accumulateHooks);
        next.add(hook);
        accumulateHooks = next;
        return () -> {
            synchronized (this) {
                List<Consumer<Tensor>> rest = new ArrayList<>(accumulateHooks == null ? List.of() : accumulateHooks);
                rest.remove(hook);
                accumulateHooks = rest;
            }
        };
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
