// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;

/** The order of elements. */
public final class Ordering {
    private Ordering() {}

    /**
     * What {@link #TOPK} takes.
     *
     * @param x [*, n], of any dtype
     * @param k how many of the last dimension, from 0 to n
     * @param largest whether the order falls, else it rises
     */
    public record TopK(Tensor x, long k, boolean largest) {}

    /**
     * @param values [*, k], the dtype of x
     * @param indices int64 of the same shape: where in its row each value comes from
     */
    public record Ordered(Tensor values, Tensor indices) {}

    /** What backward needs. */
    record Saved(Tensor indices, Shape shape) {}

    /** Stable: of equals the first comes first. NaN is the largest of all; −0 equals 0. With all for {@code k}, it sorts. */
    public static final Op<TopK, Ordered> TOPK = Op.define("merapi::topk", TopK.class, Ordered.class)
            .shape(a -> {
                Shape shape = a.x().shape();
                requireCount(a.x(), a.k(), -1);
                Shape first = shape.rank() == 0 ? shape : shape.with(-1, a.k());
                return new Ordered(Tensor.meta(a.x(), first), Tensor.meta(first, DType.INT64, a.x().device()));
            })
            .autograd((a, out) -> new Saved(out.indices(), a.x().shape()), (context, s, g) -> {
                Tensor zeros = TENSORS.zeros(
                        Tensor.meta(g.values(), s.shape()), g.values().isMeta());
                return Grads.of(
                        "x",
                        context.createGraph()
                                ? zeros.scatterAdd(-1, s.indices(), g.values())
                                : zeros.scatterAdd_(-1, s.indices(), g.values()));
            })
            .register();

    /**
     * Refuses what {@link #TOPK} cannot give; for those who check before.
     *
     * @param x of any shape
     * @param k how many elements are wanted
     * @param dim of which dimension
     * @throws ShapeException if there are not {@code k} elements along a dimension
     */
    public static void requireCount(Tensor x, long k, int dim) {
        long n = x.rank() == 0 ? 1 : x.size(dim);
        if (k < 0 || k > n || x.rank() == 0 && k != 1) {
            throw new ShapeException(Message.of("merapi::topk", k + " of " + n + " elements")
                    .argument("k")
                    .fact("x", x.describe())
                    .fix("take 0 ≤ k ≤ " + n + ", or 1 of a single element."));
        }
    }
}
