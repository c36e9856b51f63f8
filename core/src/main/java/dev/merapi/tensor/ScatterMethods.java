// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Scattering;
import dev.merapi.ops.TensorIndexing;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;

/** What stands between brackets in Python, to read and to write; and writing where indices or masks say. */
public abstract sealed class ScatterMethods extends IndexMethods permits SearchMethods {
    ScatterMethods() {}

    // ---------------------------------------------------------------- brackets

    /**
     * {@code x[…]} with numbers, slices, new axes, index tensors and masks in any mix: {@link Index} says what each does.
     *
     * @param where a place for each dimension, from the first on; those without one stay
     * @return a view if there are no tensors among the places, else a new tensor; gradients of an element that is chosen
     *     several times add up
     * @throws ShapeException if there are more places than dimensions, or an index is out of range
     */
    public Tensor index(Index... where) {
        Objects.requireNonNull(where, "where");
        Tensor x = self();
        x.requireOpen("index", "x");
        return Composition.of("merapi::index", () -> {
            IndexPlaces p = IndexPlaces.of(x, where);
            return p.chosen().isEmpty()
                    ? p.view()
                    : TensorIndexing.INDEX.call(new TensorIndexing.Chosen(p.view(), p.dims(), p.chosen()));
        });
    }

    /**
     * {@code x[…] = values}: writes to these elements; where several values meet one element, the last wins.
     *
     * @param values of a shape that broadcasts to that of {@code index(where)}; converted to this dtype
     * @param where as for {@link #index}
     * @return this tensor
     */
    public Tensor indexPut_(Tensor values, Index... where) {
        return indexPut_(values, false, where);
    }

    /**
     * {@code x[…] = value}.
     *
     * @param value what these elements become
     * @param where as for {@link #index}
     * @return this tensor
     */
    public Tensor indexPut_(Number value, Index... where) {
        Objects.requireNonNull(value, "value");
        Tensor x = self();
        x.requireOpen("indexPut_", "x");
        return indexPut_(scalar("merapi::index_put_", x, value), false, where);
    }

    /**
     * Writes to these elements, or adds to them.
     *
     * @param values of a shape that broadcasts to that of {@code index(where)}; converted to this dtype
     * @param accumulate whether they are added, all of those that meet at one element
     * @param where as for {@link #index}
     * @return this tensor
     */
    public Tensor indexPut_(Tensor values, boolean accumulate, Index... where) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(where, "where");
        Tensor x = self();
        x.requireOpen("indexPut_", "x");
        return Composition.of("merapi::index_put_", () -> {
            IndexPlaces p = IndexPlaces.of(x, where);
            if (!p.chosen().isEmpty()) {
                TensorIndexing.putInto(new TensorIndexing.Put(p.view(), p.dims(), p.chosen(), values, accumulate));
            } else if (accumulate) {
                p.view().add_(values.to(x.dtype()));
            } else {
                p.view().copy_(values);
            }
            return x;
        });
    }

    /**
     * {@link #indexPut_(Tensor, boolean, Index...)} on a copy.
     *
     * @param values of a shape that broadcasts to that of {@code index(where)}; converted to this dtype
     * @param accumulate whether they are added
     * @param where as for {@link #index}
     * @return a new tensor in the form of this
     */
    public Tensor indexPut(Tensor values, boolean accumulate, Index... where) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(where, "where");
        return Composition.of("merapi::index_put", () -> self().copy().indexPut_(values, accumulate, where));
    }

    private static Tensor scalar(String op, Tensor like, Number value) {
        return like.isMeta()
                ? Tensor.meta(like, Shape.SCALAR)
                : Composition.of(op, () -> Tensor.full(Shape.SCALAR, value, like.dtype(), like.device()));
    }

    // ---------------------------------------------------------------- rows

    /**
     * A copy where slice {@code index[j]} is slice j of {@code src}; the last of several wins.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param src of size n in {@code dim}, else of this shape; same dtype
     * @return a new tensor in the form of this
     */
    public Tensor indexCopy(int dim, Tensor index, Tensor src) {
        return Scattering.INDEX_COPY.call(new Indexing.IndexAdd(self(), dim, index, src));
    }

    /**
     * {@link #indexCopy} in place.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param src of size n in {@code dim}, else of this shape; same dtype
     * @return this tensor
     */
    public Tensor indexCopy_(int dim, Tensor index, Tensor src) {
        return Scattering.INDEX_COPY_INTO.call(new Indexing.IndexAdd(self(), dim, index, src));
    }

    /**
     * A copy with a number in the slices of a dimension that the indices name.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param value what their elements become
     * @return a new tensor in the form of this
     */
    public Tensor indexFill(int dim, Tensor index, Number value) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(value, "value");
        Tensor x = self();
        return Composition.of("merapi::index_fill", () -> x.indexCopy(dim, index, rows(x, dim, index, value)));
    }

    /**
     * {@link #indexFill} in place.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param value what their elements become
     * @return this tensor
     */
    public Tensor indexFill_(int dim, Tensor index, Number value) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(value, "value");
        Tensor x = self();
        return Composition.of("merapi::index_fill_", () -> x.indexCopy_(dim, index, rows(x, dim, index, value)));
    }

    private static Tensor rows(Tensor x, int dim, Tensor index, Number value) {
        Shape shape = x.rank() == 0 ? x.shape() : x.shape().with(x.shape().normalize(dim), index.numel());
        return scalar("merapi::index_fill", x, value).expand(shape.toArray());
    }

    // ---------------------------------------------------------------- elements

    /**
     * A copy with {@code copy[index[i][j]][j]} for dim 0 the sum, product, mean, largest or smallest of all {@code src[i][j]}
     * that go there. A mean of integers is rounded down.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank; its sizes in other dimensions may be smaller
     * @param src of the dtype of this, at least as large as {@code index} in each dimension
     * @param reduce what becomes of values that meet
     * @param includeSelf whether this tensor's own element is one of them; elements that no index names stay in any case
     * @return a new tensor in the form of this; differentiable in this and {@code src}
     */
    public Tensor scatterReduce(int dim, Tensor index, Tensor src, Scattering.Reduce reduce, boolean includeSelf) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(src, "src");
        Objects.requireNonNull(reduce, "reduce");
        Tensor x = self();
        Tensor sources = used(src, index);
        return reached("scatter_reduce", x, dim, index) == x
                ? Scattering.SCATTER_REDUCE.call(
                        new Scattering.ScatterReduce(x, dim, index, sources, reduce, includeSelf))
                : copied(
                        "scatter_reduce",
                        x,
                        dim,
                        index,
                        part -> part.scatterReduce(dim, index, sources, reduce, includeSelf));
    }

    /**
     * {@link #scatterReduce} in place.
     *
     * @param dim the dimension, negative from the end
     * @param index int32 or int64, of this rank; its sizes in other dimensions may be smaller
     * @param src of the dtype of this, at least as large as {@code index} in each dimension
     * @param reduce what becomes of values that meet
     * @param includeSelf whether this tensor's own element is one of them
     * @return this tensor
     */
    public Tensor scatterReduce_(int dim, Tensor index, Tensor src, Scattering.Reduce reduce, boolean includeSelf) {
        return self().copy_(scatterReduce(dim, index, src, reduce, includeSelf));
    }

    /**
     * {@link #scatterReduce} of whole slices: those of {@code src} meet where {@code index} is the same.
     *
     * @param dim the dimension, negative from the end
     * @param index [n], int32 or int64
     * @param src of size n in {@code dim}, else of this shape; same dtype
     * @param reduce what becomes of slices that meet
     * @param includeSelf whether this tensor's own slice is one of them
     * @return a new tensor in the form of this
     */
    public Tensor indexReduce(int dim, Tensor index, Tensor src, Scattering.Reduce reduce, boolean includeSelf) {
        Objects.requireNonNull(index, "index");
        Objects.requireNonNull(src, "src");
        Tensor x = self();
        return Composition.of("merapi::index_reduce", () -> {
            int d = x.layout().requireDim("index_reduce", dim);
            if (index.rank() != 1 || src.rank() != x.rank()) {
                throw new ShapeException(
                        Message.of("merapi::index_reduce", "takes indices [n] and a src of the rank of x")
                                .fact("x", x.describe())
                                .fact("index", index.describe())
                                .fact("src", src.describe()));
            }
            long[] along = new long[x.rank()];
            java.util.Arrays.fill(along, 1);
            along[d] = index.size(0);
            Tensor each =
                    index.reshape(along).expand(x.shape().with(d, index.size(0)).toArray());
            return x.scatterReduce(d, each, src, reduce, includeSelf);
        });
    }

    /**
     * The elements at these positions of the row-major order.
     *
     * @param index int32 or int64, any shape; negative from the end
     * @return a new tensor of the shape of {@code index}
     */
    public Tensor take(Tensor index) {
        Objects.requireNonNull(index, "index");
        return Composition.of(
                "merapi::take",
                () -> self().reshape(-1)
                        .indexSelect(0, index.reshape(-1))
                        .view(index.shape().toArray()));
    }

    /**
     * {@link #gather} where the other dimensions broadcast: {@code x.takeAlongDim(x.argsort(d, false), d)} is x sorted.
     *
     * @param indices int32 or int64, of this rank
     * @param dim the dimension, negative from the end
     * @return a new tensor
     */
    public Tensor takeAlongDim(Tensor indices, int dim) {
        Objects.requireNonNull(indices, "indices");
        Tensor x = self();
        return Composition.of("merapi::take_along_dim", () -> {
            int d = x.layout().requireDim("take_along_dim", dim);
            if (indices.rank() != x.rank()) {
                throw new ShapeException(Message.of("merapi::take_along_dim", "x and indices have different ranks")
                        .fact("x", x.describe())
                        .fact("indices", indices.describe()));
            }
            Shape others = Shape.broadcast(
                    "take_along_dim", x.shape().with(d, 1), indices.shape().with(d, 1));
            Tensor wide = x.expand(others.with(d, x.size(d)).toArray());
            return wide.gather(d, indices.expand(others.with(d, indices.size(d)).toArray()));
        });
    }

    // ---------------------------------------------------------------- masks

    /**
     * A copy where the elements that the mask holds for are those of {@code source}, in order.
     *
     * @param mask bool, broadcast to this shape
     * @param source at least as many elements as the mask holds for, of this dtype
     * @return a new tensor in the form of this
     */
    public Tensor maskedScatter(Tensor mask, Tensor source) {
        Objects.requireNonNull(mask, "mask");
        Objects.requireNonNull(source, "source");
        Tensor x = self();
        return Composition.of("merapi::masked_scatter", () -> {
            if (mask.dtype() != DType.BOOL || source.dtype() != x.dtype()) {
                throw new DTypeException(Message.of("merapi::masked_scatter", "the mask is bool, and source is as x")
                        .fact("x", x.describe())
                        .fact("mask", mask.describe())
                        .fact("source", source.describe()));
            }
            Tensor holds = mask.expand(x.shape().toArray());
            if (source.numel() == 0 && !holds.any().itemBoolean()) {
                return x.copy();
            }
            // Where it does not hold the place is the one before, or the last: any, for it is not used.
            Tensor place = holds.reshape(-1).to(DType.INT64).cumsum(0).sub(1);
            Tensor values =
                    source.reshape(-1).indexSelect(0, place).view(x.shape().toArray());
            return Tensor.where(holds, values, x);
        });
    }

    /**
     * {@link #maskedScatter} in place.
     *
     * @param mask bool, broadcast to this shape
     * @param source at least as many elements as the mask holds for, of this dtype
     * @return this tensor
     */
    public Tensor maskedScatter_(Tensor mask, Tensor source) {
        return self().copy_(maskedScatter(mask, source));
    }

    /**
     * {@code value} where the mask holds, else this.
     *
     * @param mask bool or numbers, broadcast with this
     * @param value 0-d, converted to this dtype; differentiable
     * @return a new tensor of this dtype
     */
    public Tensor maskedFill(Tensor mask, Tensor value) {
        Objects.requireNonNull(mask, "mask");
        Objects.requireNonNull(value, "value");
        Tensor x = self();
        return Composition.of("merapi::masked_fill", () -> {
            if (value.rank() != 0) {
                throw new ShapeException(Message.of("merapi::masked_fill", "the value is 0-d")
                        .fact("value", value.describe())
                        .fix("where(mask, value, x) takes values of any shape."));
            }
            return Tensor.where(mask, value.to(x.dtype()), x);
        });
    }

    /**
     * {@link #maskedFill(Tensor, Tensor)} in place.
     *
     * @param mask bool or numbers, broadcast to this shape
     * @param value 0-d, converted to this dtype
     * @return this tensor
     */
    public Tensor maskedFill_(Tensor mask, Tensor value) {
        return self().copy_(maskedFill(mask, value));
    }
}
