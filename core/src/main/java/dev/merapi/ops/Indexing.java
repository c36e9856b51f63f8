// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;

/**
 * Elements chosen by index tensors. Indices are int32 or int64; negative ones count from the end. Kernels check all of
 * them before they write anything.
 */
public final class Indexing {
    private Indexing() {}

    /**
     * What {@link #GATHER} takes.
     *
     * @param x what is read
     * @param dim along which indices count
     * @param index int32 or int64; negative ones count from the end; of the rank of x, and its sizes except in
     *     {@code dim}
     */
    public record Gather(Tensor x, int dim, Tensor index) {}

    /**
     * What {@link #SCATTER} and {@link #SCATTER_ADD} take.
     *
     * @param x what is copied, or written in place
     * @param dim along which indices count
     * @param index int32 or int64; negative ones count from the end; of the rank of x, and its sizes except in
     *     {@code dim}
     * @param src of the shape of the index and the dtype of x
     */
    public record Scatter(Tensor x, int dim, Tensor index, Tensor src) {}

    /**
     * What {@link #INDEX_SELECT} takes.
     *
     * @param x what is read; a 0-d tensor is one slice
     * @param dim along which indices count
     * @param index [n], int32 or int64; negative ones count from the end
     */
    public record IndexSelect(Tensor x, int dim, Tensor index) {}

    /**
     * What {@link #INDEX_ADD} takes.
     *
     * @param x what is copied, or written in place
     * @param dim along which indices count
     * @param index [n], int32 or int64; negative ones count from the end
     * @param src of the sizes of x, but n in {@code dim}, and of its dtype
     */
    public record IndexAdd(Tensor x, int dim, Tensor index, Tensor src) {}

    /**
     * What {@link #EMBEDDING} takes.
     *
     * @param weight the table [N, D]
     * @param indices of any shape [*], int32 or int64; negative ones count from the end
     * @param paddingIndex a row that gets no gradient; −1 for none
     */
    public record Embedding(Tensor weight, Tensor indices, long paddingIndex) {}

    /**
     * What {@link #EMBEDDING_BACKWARD} takes.
     *
     * @param g [*, D], the gradient of the rows that were looked up
     * @param indices [*], as they were looked up
     * @param rows how many the table has
     * @param paddingIndex a row that gets no gradient; −1 for none
     */
    public record EmbeddingBackward(Tensor g, Tensor indices, long rows, long paddingIndex) {}

    /**
     * What {@link #ONE_HOT} takes.
     *
     * @param indices of any shape [*], int32 or int64; negative ones count from the end
     * @param classes the size of the new last dimension
     * @param dtype of the result
     */
    public record OneHot(Tensor indices, long classes, DType dtype) {}

    /**
     * What {@link #NONZERO} takes.
     *
     * @param x of any dtype and shape
     */
    public record NonZero(Tensor x) {}

    /** What backward needs of an indexing op. */
    record Saved(Tensor index, int dim, Shape shape) {}

    /** out[o, j, i] = x[o, index[o, j, i], i]. */
    public static final Op<Gather, Tensor> GATHER = Op.define("merapi::gather", Gather.class, Tensor.class)
            .kernelType(a -> a.x().dtype())
            .shape(a -> {
                requireLike("gather", a.x(), a.dim(), a.index());
                return Tensor.meta(a.x(), a.index().shape());
            })
            .autograd(
                    (a, out) -> new Saved(a.index(), a.dim(), a.x().shape()),
                    (context, s, g) -> Grads.of("x", scattered(context, s, g)).and("index", (Tensor) null))
            .linear("x")
            .register();

    /** A copy of x with out[o, index[o, j, i], i] = src[o, j, i]; the last of several wins, and it alone gets the gradient. */
    public static final Op<Scatter, Tensor> SCATTER = Op.define("merapi::scatter", Scatter.class, Tensor.class)
            .shape(a -> Tensor.meta(requireScatter("scatter", a)))
            .autograd(
                    (a, out) -> new Saved(a.index(), a.dim(), a.x().shape()),
                    (context, s, g) -> Grads.of("x", context.needs("x") ? g.scatter(s.dim(), s.index(), 0) : null)
                            .and("src", context.needs("src") ? ofWinners(g.gather(s.dim(), s.index()), s) : null)
                            .and("index", (Tensor) null))
            .linear("x, src")
            .autocast(CastPolicy.PROMOTE)
            .register();

    /** Into zeros; in place where nothing will differentiate that again. */
    private static Tensor scattered(BackwardContext context, Saved s, Tensor g) {
        Tensor zeros = zeros(s.shape(), g);
        return context.createGraph()
                ? zeros.scatterAdd(s.dim(), s.index(), g)
                : zeros.scatterAdd_(s.dim(), s.index(), g);
    }

    /** As above. Single elements are added faster one after the other than as rows. */
    private static Tensor added(BackwardContext context, Saved s, Tensor g) {
        if (s.shape().rank() == 1) {
            return scattered(context, s, g);
        }
        Tensor zeros = zeros(s.shape(), g);
        return context.createGraph() ? zeros.indexAdd(s.dim(), s.index(), g) : zeros.indexAdd_(s.dim(), s.index(), g);
    }

    /** 0 where a later source was written to the same place: positions that are scattered as the sources were tell. */
    private static Tensor ofWinners(Tensor g, Saved s) {
        if (g.rank() == 0) {
            return g;
        }
        Tensor positions = zeros(g.shape(), s.index()).add(1).cumsum(s.dim());
        Tensor last = zeros(s.shape(), positions).scatter(s.dim(), s.index(), positions);
        return g.maskedFill(last.gather(s.dim(), s.index()).ne(positions), 0);
    }

    /** A copy of x with out[o, index[o, j, i], i] += src[o, j, i]. */
    public static final Op<Scatter, Tensor> SCATTER_ADD = Op.define("merapi::scatter_add", Scatter.class, Tensor.class)
            .compose(a -> {
                requireScatter("scatter_add", a);
                return a.x().copy().scatterAdd_(a.dim(), a.index(), a.src());
            })
            .linear("x, src")
            .autocast(CastPolicy.PROMOTE)
            .register();

    /** x[o, index[o, j, i], i] += src[o, j, i]. */
    public static final Op<Scatter, Tensor> SCATTER_ADD_INTO = Op.define(
                    "merapi::scatter_add_", Scatter.class, Tensor.class)
            .mutates("x")
            .returnsMutated()
            .shape(a -> requireScatter("scatter_add_", a))
            .autograd(
                    (a, out) -> new Saved(a.index(), a.dim(), a.x().shape()),
                    (context, s, g) -> Grads.of("x", g)
                            .and("src", context.needs("src") ? g.gather(s.dim(), s.index()) : null)
                            .and("index", (Tensor) null))
            .register();

    /** out[o, j, i] = x[o, index[j], i]. */
    public static final Op<IndexSelect, Tensor> INDEX_SELECT = Op.define(
                    "merapi::index_select", IndexSelect.class, Tensor.class)
            .kernelType(a -> a.x().dtype())
            .shape(a -> {
                return Tensor.meta(a.x(), chosen("index_select", a.x(), a.dim(), a.index()));
            })
            .autograd(
                    (a, out) -> new Saved(a.index(), a.dim(), a.x().shape()),
                    (context, s, g) -> Grads.of("x", added(context, s, g)).and("index", (Tensor) null))
            .linear("x")
            .register();

    /** A copy of x with out[o, index[j], i] += src[o, j, i]. */
    public static final Op<IndexAdd, Tensor> INDEX_ADD = Op.define("merapi::index_add", IndexAdd.class, Tensor.class)
            .compose(a -> {
                requireAdd("index_add", a);
                return a.x().copy().indexAdd_(a.dim(), a.index(), a.src());
            })
            .linear("x, src")
            .autocast(CastPolicy.PROMOTE)
            .register();

    /** x[o, index[j], i] += src[o, j, i]. */
    public static final Op<IndexAdd, Tensor> INDEX_ADD_INTO = Op.define(
                    "merapi::index_add_", IndexAdd.class, Tensor.class)
            .mutates("x")
            .returnsMutated()
            .shape(a -> requireAdd("index_add_", a))
            .autograd(
                    (a, out) -> new Saved(a.index(), a.dim(), a.x().shape()),
                    (context, s, g) -> Grads.of("x", g)
                            .and("src", context.needs("src") ? g.indexSelect(s.dim(), s.index()) : null)
                            .and("index", (Tensor) null))
            .register();

    /** Row {@code indices[*]} of weight [N, D]: [*, D]. */
    public static final Op<Embedding, Tensor> EMBEDDING = Op.define("merapi::embedding", Embedding.class, Tensor.class)
            .kernelType(a -> a.weight().dtype())
            .shape(Indexing::embeddingShape)
            .autograd(
                    (a, out) -> new SavedLookup(a.indices(), a.weight().size(0), a.paddingIndex()),
                    (context, s, g) -> Grads.of("weight", embeddingBackward(g, s.indices(), s.rows(), s.paddingIndex()))
                            .and("indices", (Tensor) null))
            .linear("weight")
            .register();

    /** What backward needs of a look-up. */
    record SavedLookup(Tensor indices, long rows, long paddingIndex) {}

    /** The gradient [rows, D] of the weight; rows that were looked up several times get the sum. */
    public static final Op<EmbeddingBackward, Tensor> EMBEDDING_BACKWARD = Op.define(
                    "merapi::embedding_backward", EmbeddingBackward.class, Tensor.class)
            .kernelType(a -> a.g().dtype())
            .shape(a -> {
                requireIndices("embedding_backward", a.indices(), -1);
                requirePadding("embedding_backward", a.paddingIndex(), a.rows());
                if (a.g().rank() == 0
                        || !a.g().shape().without(-1).equals(a.indices().shape())) {
                    throw new ShapeException(Message.of("embedding_backward: g must be [*, D] for indices [*]")
                            .fact("g", a.g().describe())
                            .fact("indices", a.indices().describe()));
                }
                return Tensor.meta(a.g(), Shape.of("embedding_backward", a.rows(), a.g().size(-1)));
            })
            .autograd((a, out) -> new SavedLookup(a.indices(), a.rows(), a.paddingIndex()), (context, s, g) -> {
                Tensor rows = EMBEDDING.call(new Embedding(g, s.indices(), s.paddingIndex()));
                if (s.paddingIndex() < 0) {
                    return Grads.of("g", rows).and("indices", (Tensor) null);
                }
                // An index may count from the end.
                Tensor pads =
                        s.indices().eq(s.paddingIndex()).logicalOr(s.indices().eq(s.paddingIndex() - s.rows()));
                return Grads.of("g", rows.maskedFill(pads.unsqueeze(-1), 0)).and("indices", (Tensor) null);
            })
            .linear("g")
            .register();

    private static Tensor embeddingBackward(Tensor g, Tensor indices, long rows, long padding) {
        return EMBEDDING_BACKWARD.call(new EmbeddingBackward(g, indices, rows, padding));
    }

    /** 1 at the index, 0 elsewhere: [*] to [*, classes]. */
    public static final Op<OneHot, Tensor> ONE_HOT = Op.define("merapi::one_hot", OneHot.class, Tensor.class)
            .kernelType(OneHot::dtype)
            .nonDifferentiable()
            .shape(a -> {
                requireIndices("one_hot", a.indices(), -1);
                requireChoice("one_hot", a.indices(), a.classes());
                return Tensor.meta(
                        a.indices().shape().inserted(-1, a.classes()),
                        a.dtype(),
                        a.indices().device());
            })
            .register();

    /** The coordinates of what is not 0, in row-major order: int64 [count, rank]. */
    public static final Op<NonZero, Tensor> NONZERO = Op.define("merapi::nonzero", NonZero.class, Tensor.class)
            .nonDifferentiable()
            .register();

    // ---------------------------------------------------------------- checks

    /**
     * The error for an index that a kernel found to be out of range.
     *
     * @param op which found it
     * @param position of the index among the indices, in row-major order
     * @param index what was asked for
     * @param size of the dimension that it should lie in
     * @return the error, which says what indices may be
     */
    public static ShapeException outOfRange(String op, long position, long index, long size) {
        return new ShapeException(Message.of(op + ": index " + index + ", at position " + position
                        + " of the indices, is out of range for size " + size)
                .fix(
                        size == 0
                                ? "there is nothing to be chosen from."
                                : "indices lie in [" + -size + ", " + (size - 1) + "]."));
    }

    static Tensor zeros(Shape shape, Tensor like) {
        return TENSORS.zeros(Tensor.meta(like, shape), like.isMeta());
    }

    static void requireIndices(String op, Tensor index, int rank) {
        if (index.dtype() != DType.INT64 && index.dtype() != DType.INT32) {
            throw new DTypeException(op + ": indices must be int32 or int64, but are " + index.describe()
                    + "\n  fix: index.to(DType.INT64)"
                    + (index.dtype() == DType.BOOL ? ", or maskedSelect(mask)." : "."));
        }
        if (rank >= 0 && index.rank() != rank) {
            throw new ShapeException(op + ": indices must have " + rank + " dimension, but are " + index.describe());
        }
    }

    /** No kernel looks at the indices where the result is empty. */
    private static void requireChoice(String op, Tensor index, long size) {
        if (size == 0 && index.numel() > 0) {
            throw new ShapeException(Message.of(op + ": there is nothing that indices could choose")
                    .fact("size", 0)
                    .fact("indices", index.describe())
                    .fix("leave the call out where a size is 0."));
        }
    }

    private static void requireLike(String op, Tensor x, int dim, Tensor index) {
        requireIndices(op, index, -1);
        int d = x.shape().normalize(dim);
        boolean fits = index.rank() == x.rank();
        for (int i = 0; fits && i < x.rank(); i++) {
            fits = i == d || index.size(i) == x.size(i);
        }
        if (!fits) {
            throw new ShapeException(Message.of(op + ": indices must have the shape of x, except in dimension " + d)
                    .fact("x", x.describe())
                    .fact("index", index.describe()));
        }
    }

    static Tensor requireScatter(String op, Scatter a) {
        requireLike(op, a.x(), a.dim(), a.index());
        requireChoice(op, a.index(), a.x().rank() == 0 ? 1 : a.x().size(a.dim()));
        requireSource(op, a.x(), a.index().shape(), a.src());
        return a.x();
    }

    static Tensor requireAdd(String op, IndexAdd a) {
        requireSource(op, a.x(), chosen(op, a.x(), a.dim(), a.index()), a.src());
        return a.x();
    }

    /** The shape of x with as many slices as there are indices; a 0-d x is one slice, and takes one index. */
    private static Shape chosen(String op, Tensor x, int dim, Tensor index) {
        requireIndices(op, index, 1);
        Shape shape = x.shape();
        int d = shape.normalize(dim);
        if (shape.rank() > 0) {
            return shape.with(d, index.size(0));
        }
        if (index.size(0) != 1) {
            throw new ShapeException(
                    Message.of(op + ": a 0-d tensor has one slice, and takes one index, not " + index.size(0))
                            .fact("x", x.describe())
                            .fact("index", index.describe())
                            .fix("x.unsqueeze(0), which has a dimension."));
        }
        return shape;
    }

    private static void requireSource(String op, Tensor x, Shape expected, Tensor src) {
        if (!src.shape().equals(expected)) {
            throw new ShapeException(op + ": src must have the shape " + expected + ", but is " + src.describe());
        }
        if (src.dtype() != x.dtype()) {
            throw new DTypeException(
                    op + ": src is " + src.describe() + ", but x is " + x.describe() + "\n  fix: src.to(x.dtype()).");
        }
    }

    private static void requirePadding(String op, long paddingIndex, long rows) {
        if (paddingIndex < -1 || paddingIndex >= rows) {
            throw new ShapeException(op + ": padding index " + paddingIndex + " is none of " + rows
                    + " rows\n  fix: the number of a row, counted from 0, or -1 for none.");
        }
    }

    private static Tensor embeddingShape(Embedding a) {
        requireIndices("embedding", a.indices(), -1);
        if (a.weight().rank() != 2) {
            throw new ShapeException("embedding: weight must be a matrix of rows, but is "
                    + a.weight().describe());
        }
        requirePadding("embedding", a.paddingIndex(), a.weight().size(0));
        return Tensor.meta(
                a.weight(), a.indices().shape().inserted(-1, a.weight().size(1)));
    }
}
