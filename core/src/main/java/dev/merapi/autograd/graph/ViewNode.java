// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The derivative of any view: zeros of the viewed shape, and the gradient copied into the same view of them. */
final class ViewNode<A extends Record, R> extends Node {
    private final Definition<A, R> op;
    private final A args; // with a tensor that has no memory in the viewed place
    private final int slot;
    private final Tensor viewed;

    ViewNode(Definition<A, R> op, A args, int slot, Tensor viewed, Tensor[] outputs) {
        super(op.name(), outputs);
        this.op = op;
        this.slot = slot;
        this.viewed = Tensor.meta(viewed);
        this.args = withViewed(args, this.viewed);
    }

    @Override
    String inputName(int i) {
        return "'" + op.viewedArgument() + "'";
    }

    private A withViewed(A from, Tensor replacement) {
        @Nullable Tensor[] tensors = op.schema().tensors(op.name(), from);
        tensors[slot] = replacement;
        return op.schema().rebuild(from, tensors);
    }

    static boolean isMeta(@Nullable Tensor[] gradients) {
        for (Tensor g : gradients) {
            if (g != null) {
                return g.isMeta();
            }
        }
        return false;
    }

    @Override
    @Nullable
    Tensor[] backward(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass) {
        boolean oneByOne = op.hasManyViews() && pass.createsGraph();
        return ForwardMode.linear(
                gradients, g -> new Tensor[] {oneByOne ? oneByOne(g) : together(g)}, Context.current());
    }

    private Tensor together(@Nullable Tensor[] gradients) {
        Tensor whole = TENSORS.zeros(viewed, isMeta(gradients));
        R views = op.op().call(withViewed(args, whole));
        Tensor ofOverlapping = null;
        for (int i = 0; i < gradients.length; i++) {
            Tensor g = gradients[i];
            if (g != null) {
                Tensor view = views instanceof List<?> list ? (Tensor) list.get(i) : (Tensor) views;
                if (!view.layout().isInjective()) {
                    Tensor share = gathered(g, i);
                    ofOverlapping = ofOverlapping == null ? share : ofOverlapping.add(share);
                } else if (gradients.length == 1) {
                    view.copy_(g);
                } else { // views may overlap each other: every share counts
                    view.add_(g);
                }
            }
        }
        return ofOverlapping == null ? whole : whole.add(ofOverlapping);
    }

    /** For a view whose elements overlap, such as sliding windows: an element of the viewed gets what its images get. */
    private Tensor gathered(Tensor g, int output) {
        if (g.isMeta()) {
            return Tensor.meta(viewed);
        }
        long n = viewed.numel();
        Tensor places = Tensor.arange(0L, n, 1L, DType.INT64, viewed.device())
                .view(viewed.shape().toArray());
        R views = op.op().call(withViewed(args, places));
        Tensor view = views instanceof List<?> list ? (Tensor) list.get(output) : (Tensor) views;
        Tensor sum = Tensor.zeros(Shape.of(n), viewed.dtype(), viewed.device())
                .indexAdd(0, view.reshape(g.numel()), g.reshape(g.numel()));
        return sum.view(viewed.shape().toArray());
    }

    /** Written to one of several views of a graph nothing can be, so each gets zeros of its own; recorded. */
    private Tensor oneByOne(@Nullable Tensor[] gradients) {
        Tensor sum = null;
        for (int i = 0; i < gradients.length; i++) {
            Tensor g = gradients[i];
            if (g != null) {
                Tensor whole = TENSORS.zeros(viewed, isMeta(gradients));
                Tensor view = (Tensor) ((List<?>) op.op().call(withViewed(args, whole))).get(i);
                if (view.layout().isInjective()) {
                    view.copy_(g);
                } else {
                    whole = gathered(g, i);
                }
                sum = sum == null ? whole : sum.add(whole);
            }
        }
        return java.util.Objects.requireNonNull(sum);
    }
}
