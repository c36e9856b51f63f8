// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Ordering;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * Elements chosen by index tensors: int32 or int64, negative ones counting from the end. An index out of range is an
 * error that names op, index and size, before anything is written. Differentiable in everything but the indices.
 */
public abstract sealed class IndexMethods extends ArrangeMethods permits ScatterMethods {
    IndexMethods() {}

    /**
     * {@code out[i][j] = this[index[i][j]][j]} for dim 0 in two dimensions, and so on.
     *
     * @param dim the dimension, negative from the end
     * @param index of the same rank; its sizes in other dimensions may be smaller, then only those places are read
     * @return a new tensor in the shape of {@code index} and the dtype of this
     */
    public Tensor gather(int dim, Tensor index) {
        Objects.requireNonNull(index, "index");
        return Indexing.GATHER.call(new Indexing.Gather(reached("gather", self(), dim, index), dim, index));
    }

    /** The part of x that the indices can reach: in other dimensions there may be fewer of them. */
    static Tensor reached(String op, Tensor x, int dim, Tensor index) {
        int d = x.shape().normalize(op, dim);
        Tensor part = x;
        for (int i = 0; index.rank() == x.rank() && i < x.rank(); i++) {
            if (i != d && index.size(i) < x.size(i)) {
                part = part.narrow(i, 0, index.size(i));
            }
        }
        return part;
    }

    /** As many sources as there are indices. */
    static Tensor used(Tensor src, Tensor index) {
        Tensor part = src;
        for (int i = 0; index.rank() == src.rank() && i < src.rank(); i++) {
            if (index.size(i) < src.size(i)) {
                part = part.narrow(i, 0, index.size(i));
            }
        }
        return part;
    }

    /** A copy of x whose part is what {@code write} makes of it. */
    static Tensor copied(String op, Tensor x, int dim, Tensor index, UnaryOperator<Tensor> write) {
        return Composition.of("merapi::" + op, () -> {
            Tensor copy = x.copy();
            Tensor part = reached(op, copy, dim, index);
            part.copy_(write.apply(part));
            return copy;
        });
    }

    /**
     * A copy with {@code copy[index[i][j]][j] = src[i][j]} for dim 0; where an index repeats, the last
     * one wins, and it alone gets a gradient.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank; its sizes in other dimensions may be smaller
     * @param src of the dtype of this, at least as large as {@code index} in each dimension
     * @return a new tensor in the form of this
     */
    public Tensor scatter(int dim, Tensor index, Tensor src) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(src, "src");
        Tensor x = self();
        Tensor sources = used(src, index);
        return reached("scatter", x, dim, index) == x
                ? Indexing.SCATTER.call(new Indexing.Scatter(x, dim, index, sources))
                : copied("scatter", x, dim, index, part -> part.scatter(dim, index, sources));
    }

    /**
     * {@link #scatter(int, Tensor, Tensor)} in place.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank; its sizes in other dimensions may be smaller
     * @param src of the dtype of this, at least as large as {@code index} in each dimension
     * @return this tensor
     */
    public Tensor scatter_(int dim, Tensor index, Tensor src) {
        return self().copy_(scatter(dim, index, src));
    }

    /**
     * As {@link #scatter(int, Tensor, Tensor)}, with one value for all places.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank
     * @param value what these places become; no gradient reaches them
     * @return a new tensor in the form of this
     */
    public Tensor scatter(int dim, Tensor index, Number value) {
        Objects.requireNonNull(index, "index");
        Tensor t = self();
        Tensor src = t.isMeta()
                ? Tensor.meta(index.shape(), t.dtype(), t.device())
                : Tensor.full(index.shape(), value, t.dtype(), t.device());
        return scatter(dim, index, src);
    }

    /**
     * A copy with {@code copy[index[i][j]][j] += src[i][j]} for dim 0; all of a repeated index add up.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank
     * @param src of the dtype of this, at least as large as {@code index} in each dimension
     * @return a new tensor in the form of this
     */
    public Tensor scatterAdd(int dim, Tensor index, Tensor src) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(src, "src");
        Tensor x = self();
        Tensor sources = used(src, index);
        return reached("scatter_add", x, dim, index) == x
                ? Indexing.SCATTER_ADD.call(new Indexing.Scatter(x, dim, index, sources))
                : copied("scatter_add", x, dim, index, part -> part.scatterAdd(dim, index, sources));
    }

    /**
     * {@link #scatterAdd} in place.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank
     * @param src of the dtype of this, at least as large as {@code index} in each dimension
     * @return this tensor
     */
    public Tensor scatterAdd_(int dim, Tensor index, Tensor src) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(src, "src");
        Tensor x = self();
        Tensor part = reached("scatter_add_", x, dim, index);
        Tensor written = Indexing.SCATTER_ADD_INTO.call(new Indexing.Scatter(part, dim, index, used(src, index)));
        return part == x ? written : x;
    }

    /**
     * The slices of a dimension at the indices (one-dimensional), in their order.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @return a new tensor, of size n in {@code dim}
     */
    public Tensor indexSelect(int dim, Tensor index) {
        return Indexing.INDEX_SELECT.call(new Indexing.IndexSelect(self(), dim, index));
    }

    /**
     * A copy where slice j of {@code src} is added to slice {@code index[j]}.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param src of size n in {@code dim}, else of this shape; same dtype
     * @return a new tensor in the form of this; all slices of a repeated index add up
     */
    public Tensor indexAdd(int dim, Tensor index, Tensor src) {
        return Indexing.INDEX_ADD.call(new Indexing.IndexAdd(self(), dim, index, src));
    }

    /**
     * {@link #indexAdd} in place.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param src of size n in {@code dim}, else of this shape; same dtype
     * @return this tensor
     */
    public Tensor indexAdd_(int dim, Tensor index, Tensor src) {
        return Indexing.INDEX_ADD_INTO.call(new Indexing.IndexAdd(self(), dim, index, src));
    }

    /**
     * The rows of this matrix [N, D] at the indices [*]: [*, D].
     *
     * @param indices int32 or int64, any shape
     * @return a new tensor with a last dimension of D
     */
    public Tensor embedding(Tensor indices) {
        return embedding(indices, -1);
    }

    /**
     * As {@link #embedding(Tensor)}; row {@code paddingIndex} gets no gradient (−1: all do).
     *
     * @param indices int32 or int64, any shape
     * @param paddingIndex a row from 0 to N − 1, or −1
     * @return a new tensor with a last dimension of D
     */
    public Tensor embedding(Tensor indices, long paddingIndex) {
        return Indexing.EMBEDDING.call(new Indexing.Embedding(self(), indices, paddingIndex));
    }

    /**
     * These indices [*] as rows of zeros with a one: int64 [*, classes].
     *
     * @param classes larger than each index
     * @return a new tensor; not differentiable
     */
    public Tensor oneHot(long classes) {
        return oneHot(classes, DType.INT64);
    }

    /**
     * As {@link #oneHot(long)}, in a dtype of the caller's choice.
     *
     * @param classes larger than each index
     * @param dtype of the result
     * @return a new tensor [*, classes]; not differentiable
     */
    public Tensor oneHot(long classes, DType dtype) {
        return Indexing.ONE_HOT.call(new Indexing.OneHot(self(), classes, dtype));
    }

    /**
     * The coordinates of the elements that are not 0, in row-major order: int64 [count, rank]. Waits for the device, for
     * the size depends on the data.
     *
     * @return a new tensor; [0, rank] if all are 0
     */
    public Tensor nonzero() {
        return Indexing.NONZERO.call(new Indexing.NonZero(self()));
    }

    // ---------------------------------------------------------------- order

    /**
     * The elements along a dimension in order, and where they were. Stable; NaN is the largest of all.
     *
     * @param dim the dimension, negative from the end
     * @param descending whether the largest comes first
     * @return values of this shape and dtype, and int64 indices
     */
    public Ordering.Ordered sort(int dim, boolean descending) {
        Shape shape = self().shape();
        int d = shape.normalize("sort", dim);
        return topk(shape.rank() == 0 ? 1 : shape.size(d), dim, descending);
    }

    /**
     * In rising order.
     *
     * @param dim the dimension, negative from the end
     * @return values of this shape and dtype, and int64 indices
     */
    public Ordering.Ordered sort(int dim) {
        return sort(dim, false);
    }

    /**
     * The indices that {@link #sort(int, boolean)} gives.
     *
     * @param dim the dimension, negative from the end
     * @param descending whether the largest comes first
     * @return int64 indices of this shape
     */
    public Tensor argsort(int dim, boolean descending) {
        Ordering.Ordered ordered = sort(dim, descending);
        ordered.values().close();
        return ordered.indices();
    }

    /**
     * The k largest or smallest elements along a dimension, in falling or rising order, and where they were. Of equals
     * the first comes first; NaN is the largest of all.
     *
     * @param k how many, from 0 to the dimension's size
     * @param dim the dimension, negative from the end
     * @param largest whether the largest ones are wanted, else the smallest
     * @return values and int64 indices, of size k in {@code dim}
     */
    public Ordering.Ordered topk(long k, int dim, boolean largest) {
        Tensor x = self();
        int d = x.shape().normalize("topk", dim);
        Ordering.requireCount(x, k, d);
        if (x.rank() < 2 || d == x.rank() - 1) {
            return Ordering.TOPK.call(new Ordering.TopK(x, k, largest));
        }
        Ordering.Ordered last = Ordering.TOPK.call(new Ordering.TopK(x.transpose(d, -1), k, largest));
        return new Ordering.Ordered(
                last.values().transpose(d, -1), last.indices().transpose(d, -1));
    }

    /**
     * The k largest along the last dimension.
     *
     * @param k how many, from 0 to the dimension's size
     * @return values and int64 indices, of size k in the last dimension
     */
    public Ordering.Ordered topk(long k) {
        return topk(k, -1, true);
    }

    /**
     * The elements where the mask (bool, broadcast with this) holds, in row-major order, one-dimensional.
     *
     * @param mask bool, broadcast with this
     * @return a new tensor of one dimension, whose size depends on the data: waits for the device
     */
    public Tensor maskedSelect(Tensor mask) {
        Objects.requireNonNull(mask, "mask");
        if (mask.dtype() != DType.BOOL) {
            throw new ShapeException(
                    "masked_select: the mask must be bool, but is " + mask.describe() + "\n  fix: mask.ne(0).");
        }
        long[] shape =
                Shape.broadcast("masked_select", self().shape(), mask.shape()).toArray();
        return Scope.scoped(() -> {
            Tensor positions = mask.expand(shape).flatten().nonzero().squeeze(1);
            return self().expand(shape).flatten().indexSelect(0, positions);
        });
    }
}
