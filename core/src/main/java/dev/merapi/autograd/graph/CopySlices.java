// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The history of a base after an in-place op on one of its views: outside of the view the gradient passes, inside of it
 * goes through the op. Input 0 is the base as it was; then come the op's inputs.
 */
final class CopySlices extends Node {
    private final ViewMeta view;
    private final Node op;
    private final int slot;

    CopySlices(Tensor base, ViewMeta view, Node op, int slot) {
        super("CopySlices(" + op.name() + ")", new Tensor[] {Tensor.meta(base)});
        this.view = view;
        this.op = op;
        this.slot = slot;
        @Nullable Node[] nodes = new Node[op.inputs() + 1];
        int[] indices = new int[nodes.length];
        AutogradMeta m = AutogradMeta.of(base);
        Edge edge = m == null ? null : m.edge(base);
        if (edge != null) {
            nodes[0] = edge.node();
            indices[0] = edge.output();
        }
        for (int i = 0; i < op.inputs(); i++) {
            if (i != slot) {
                nodes[i + 1] = op.next(i);
                indices[i + 1] = op.nextIndex(i);
            }
        }
        connect(nodes, indices);
    }

    @Override
    String inputName(int i) {
        return i == 0 ? "the tensor that was viewed" : op.inputName(i - 1);
    }

    @Override
    @Nullable
    Tensor[] backward(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass) {
        @Nullable Tensor[] result = new Tensor[needed.length];
        Tensor g = gradients[0];
        if (g == null) {
            return result;
        }
        Tensor whole = g.copy();
        Tensor part = view.replay(whole);
        boolean[] neededOfOp = new boolean[op.inputs()];
        for (int i = 0; i < neededOfOp.length; i++) {
            neededOfOp[i] = i == slot ? needed[0] : needed[i + 1];
        }
        @Nullable Tensor[] ofOp = op.backward(new Tensor[] {part.copy()}, neededOfOp, pass);
        Tensor inner = ofOp[slot];
        if (inner == null) {
            part.zero_();
        } else {
            part.copy_(inner);
        }
        result[0] = whole;
        for (int i = 0; i < ofOp.length; i++) {
            if (i != slot) {
                result[i + 1] = ofOp[i];
            }
        }
        return result;
    }

    @Override
    void release(ThreadState memory) {
        op.release(memory);
    }

    @Override
    public void releaseByScope(ThreadState memory) {
        op.releaseByScope(memory);
    }

    @Override
    public void escape() {
        op.escape();
    }
}
