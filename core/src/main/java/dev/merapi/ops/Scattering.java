// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.Objects;

/** Writing where indices say, in other ways than {@link Indexing}: rows put, and elements reduced. */
public final class Scattering {
    private Scattering() {}

    /** What becomes of values that meet at one element. */
    public enum Reduce {
        /** Their sum. */
        SUM,
        /** Their product. */
        PROD,
        /** Their mean; of integers rounded down. */
        MEAN,
        /** The largest; NaN wins. */
        AMAX,
        /** The smallest; NaN wins. */
        AMIN
    }

    /**
     * What {@link #SCATTER_REDUCE} takes.
     *
     * @param x numbers of any dtype but bool
     * @param dim along which indices count
     * @param index of the rank of x, and its sizes except in {@code dim}
     * @param src of the shape of index and the dtype of x
     * @param reduce what becomes of values that meet
     * @param includeSelf whether the element that is there already is one of those that are reduced
     */
    public record ScatterReduce(Tensor x, int dim, Tensor index, Tensor src, Reduce reduce, boolean includeSelf) {}

    /** {@code values}: x, src and the result, where the gradient depends on them. */
    record SavedReduce(List<Tensor> values, Tensor index, int dim, Shape shape, Reduce reduce, boolean includeSelf) {}

    /** A copy of x with out[o, index[j], i] = src[o, j, i]; the last of several wins, and it alone gets the gradient. */
    public static final Op<Indexing.IndexAdd, Tensor> INDEX_COPY = Op.define(
                    "merapi::index_copy", Indexing.IndexAdd.class, Tensor.class)
            .compose(a -> {
                Indexing.requireAdd("index_copy", a);
                return a.x().copy().indexCopy_(a.dim(), a.index(), a.src());
            })
            .linear("x, src")
            .autocast(CastPolicy.PROMOTE)
            .register();

    /** x[o, index[j], i] = src[o, j, i]. */
    public static final Op<Indexing.IndexAdd, Tensor> INDEX_COPY_INTO = Op.define(
                    "merapi::index_copy_", Indexing.IndexAdd.class, Tensor.class)
            .mutates("x")
            .returnsMutated()
            .shape(a -> Indexing.requireAdd("index_copy_", a))
            .autograd(
                    (a, out) -> new Indexing.Saved(a.index(), a.dim(), a.x().shape()),
                    (context, s, g) -> Grads.of("x", context.needs("x") ? g.indexFill(s.dim(), s.index(), 0) : null)
                            .and("src", context.needs("src") ? ofLastRows(g, s) : null)
                            .and("index", (Tensor) null))
            .register();

    /** The chosen rows of a gradient; 0 where a later row was put in the same place. */
    private static Tensor ofLastRows(Tensor g, Indexing.Saved s) {
        Tensor rows = g.indexSelect(s.dim(), s.index());
        if (g.rank() == 0) {
            return rows;
        }
        int d = s.shape().normalize(s.dim());
        Tensor place = TensorIndexing.range(s.index(), s.index().numel(), 1);
        Tensor last = Indexing.zeros(Shape.of(s.shape().size(d)), place).indexCopy(0, s.index(), place);
        long[] along = new long[g.rank()];
        java.util.Arrays.fill(along, 1);
        along[d] = place.numel();
        return rows.maskedFill(last.indexSelect(0, s.index()).ne(place).view(along), 0);
    }

    /**
     * A copy of x where out[o, index[o, j, i], i] is the sum, product, mean, largest or smallest of all src[o, j, i] of that
     * element, and of x there, if wanted; elements that no index names stay. Numbers; a mean of integers is rounded down.
     * Ties, and NaNs, share the gradient of the largest and smallest. A product has forward mode and second derivatives
     * but where several sources that are 0 meet, which is refused.
     */
    public static final Op<ScatterReduce, Tensor> SCATTER_REDUCE = Op.define(
                    "merapi::scatter_reduce", ScatterReduce.class, Tensor.class)
            .shape(a -> {
                Tensor x = Indexing.requireScatter(
                        "scatter_reduce", new Indexing.Scatter(a.x(), a.dim(), a.index(), a.src()));
                Objects.requireNonNull(a.reduce(), "reduce");
                if (x.dtype() == DType.BOOL) {
                    throw new DTypeException(Message.of("scatter_reduce: takes numbers, but x is bool")
                            .fact("x", x.describe())
                            .fix("to(DType.UINT8)."));
                }
                return Tensor.meta(x, x.shape());
            })
            .autograd(
                    (a, out) -> new SavedReduce(
                            a.reduce() == Reduce.SUM || a.reduce() == Reduce.MEAN
                                    ? List.of()
                                    : List.of(a.x(), a.src(), out),
                            a.index(),
                            a.dim(),
                            a.x().shape(),
                            a.reduce(),
                            a.includeSelf()),
                    Scattering::reduceBackward)
            .autocast(CastPolicy.PROMOTE)
            .register();

    private static Tensor reduced(Tensor x, Tensor src, SavedReduce s) {
        return SCATTER_REDUCE.call(new ScatterReduce(x, s.dim(), s.index(), src, s.reduce(), s.includeSelf()));
    }

    private static Grads reduceBackward(BackwardContext context, SavedReduce s, Tensor g) {
        Tensor ofX = g;
        Tensor ofSrc;
        switch (s.reduce()) {
            case SUM -> ofSrc = g.gather(s.dim(), s.index());
            case MEAN -> {
                Tensor here = Indexing.zeros(s.shape(), g);
                Tensor count = (s.includeSelf() ? here.add(1) : here)
                        .scatterAdd(
                                s.dim(),
                                s.index(),
                                Indexing.zeros(s.index().shape(), g).add(1))
                        .clampMin(1);
                ofX = g.div(count);
                ofSrc = ofX.gather(s.dim(), s.index());
            }
            case PROD -> {
                Tensor x = s.values().get(0);
                ofX = context.needs("x") ? productOfOthers(g, x, s) : g;
                ofSrc = context.needs("src") ? productsOfOthers(context, g, s) : g;
            }
            default -> {
                Tensor out = s.values().get(2);
                Tensor mine = wins(s.values().get(0), out);
                mine = s.includeSelf() ? mine : mine.scatter(s.dim(), s.index(), 0);
                Tensor theirs = wins(s.values().get(1), out.gather(s.dim(), s.index()));
                Tensor share = g.div(mine.scatterAdd(s.dim(), s.index(), theirs).clampMin(1));
                ofX = share.mul(mine);
                ofSrc = share.gather(s.dim(), s.index()).mul(theirs);
            }
        }
        if (context.needs("x") && !s.includeSelf()) {
            ofX = ofX.scatter(s.dim(), s.index(), 0);
        }
        return Grads.of("x", context.needs("x") ? ofX : null)
                .and("src", context.needs("src") ? ofSrc : null)
                .and("index", (Tensor) null);
    }

    /** 1 where a value is the result, which NaN is of NaN. */
    private static Tensor wins(Tensor value, Tensor result) {
        Tensor x = value.detach();
        Tensor y = result.detach();
        return x.eq(y).logicalOr(x.isNan().logicalAnd(y.isNan())).to(x.dtype());
    }

    /** By what each element of x was multiplied; one that is 0 cannot be divided by, and is left out instead. */
    private static Tensor productOfOthers(Tensor g, Tensor x, SavedReduce s) {
        Tensor without = x.maskedFill(x.eq(0), 1);
        return g.mul(reduced(without, s.values().get(1), s)).div(without);
    }

    /** The same for sources: where one of several is 0, its factor is the product of the others, and theirs are 0. */
    private static Tensor productsOfOthers(BackwardContext context, Tensor g, SavedReduce s) {
        Tensor x = s.values().get(0);
        Tensor src = s.values().get(1);
        Tensor zero = src.eq(0);
        Tensor zeros = Indexing.zeros(s.shape(), g)
                .scatterAdd(s.dim(), s.index(), zero.to(g.dtype()))
                .gather(s.dim(), s.index());
        if (context.createGraph() && zeros.gt(1).any().itemBoolean()) {
            throw new GradientException(Message.of(
                            "merapi::scatter_reduce",
                            "several sources that are 0 meet, where a product has neither forward mode nor second derivatives here")
                    .fact("src", src.describe())
                    .fix("sort the sources by their index, and take prod of each part."));
        }
        Tensor only = zero.logicalAnd(zeros.eq(1));
        Tensor withoutIt = g.mul(reduced(x, src.maskedFill(only, 1), s)).gather(s.dim(), s.index());
        Tensor divided = g.mul(s.values().get(2)).gather(s.dim(), s.index()).div(src.maskedFill(zero, 1));
        return Tensor.where(only, withoutIt, divided);
    }
}
