// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Elements that tensors of indices choose together, each in a dimension of its own. From the first of these dimensions to
 * the last they are seen as one, and each choice is one position there: so it is a choice of rows, which every backend
 * has a kernel for, forward and backward.
 */
public final class TensorIndexing {
    private TensorIndexing() {}

    /**
     * The indices broadcast; what they choose stands in their place, or in front where a dimension lies between them.
     *
     * @param x what is read
     * @param dims of x, rising
     * @param indices int32 or int64, one for each of {@code dims}
     */
    public record Chosen(Tensor x, int[] dims, List<Tensor> indices) {}

    /**
     * What {@link #INDEX_PUT} takes.
     *
     * @param x what is copied, or written in place
     * @param dims of x, rising
     * @param indices int32 or int64, one for each of {@code dims}; they broadcast
     * @param values broadcast to what {@link Chosen} gives, and converted to the dtype of x
     * @param accumulate whether they are added to what is there
     */
    public record Put(Tensor x, int[] dims, List<Tensor> indices, Tensor values, boolean accumulate) {}

    /** x[…, indices[0], …, indices[1], …], a copy. */
    public static final Op<Chosen, Tensor> INDEX = Op.define("merapi::index", Chosen.class, Tensor.class)
            .compose(a -> {
                Place place = Place.of(a.x(), a.dims(), a.indices());
                return Composition.of(
                        "merapi::index",
                        () -> place.arranged(a.x().reshape(place.flat())
                                .indexSelect(place.first, place.positions(a.x(), a.indices()))));
            })
            .register();

    /** A copy of x with the values at the chosen elements; of several at one element the last wins, or all are added. */
    public static final Op<Put, Tensor> INDEX_PUT = Op.define("merapi::index_put", Put.class, Tensor.class)
            .compose(a -> Composition.of(
                    "merapi::index_put",
                    () -> put(
                            Place.of(a.x(), a.dims(), a.indices()),
                            a.x().copy(),
                            a.indices(),
                            a.values(),
                            a.accumulate())))
            .linear("x, values")
            .autocast(CastPolicy.PROMOTE)
            .register();

    /**
     * {@link #INDEX_PUT} in place; returns x.
     *
     * @param a what is written where
     * @return the tensor that was written
     * @throws ShapeException if an index is out of range, or shapes do not fit
     */
    public static Tensor putInto(Put a) {
        Objects.requireNonNull(a, "a");
        return Composition.of(
                "merapi::index_put_",
                () -> put(Place.of(a.x(), a.dims(), a.indices()), a.x(), a.indices(), a.values(), a.accumulate()));
    }

    private static Tensor put(Place place, Tensor x, List<Tensor> indices, Tensor values, boolean accumulate) {
        Tensor source = place.rows(values.to(x.dtype()).expand(place.result()));
        Layout flat = x.layout().reshape(Shape.of(place.flat()));
        Tensor whole = flat == null ? x.contiguous() : x;
        Tensor rows = whole.view(place.flat());
        Tensor positions = place.positions(x, indices);
        if (accumulate) {
            if (rows.rank() == 1) {
                rows.scatterAdd_(
                        0, positions, source); // single elements are added faster one after the other than as rows
            } else {
                rows.indexAdd_(place.first, positions, source);
            }
        } else {
            rows.indexCopy_(place.first, positions, source);
        }
        return whole == x ? x : x.copy_(whole);
    }

    /** Where indices choose. {@code between}: dimensions from the first to the last that no index is for. */
    private static final class Place {
        private final Shape shape;
        private final int first;
        private final int last;
        private final int[] dims;
        private final long[] chosen;
        private final long[] between;

        private Place(Shape shape, int[] dims, long[] chosen, long[] between) {
            this.shape = shape;
            this.dims = dims;
            this.first = dims[0];
            this.last = dims[dims.length - 1];
            this.chosen = chosen;
            this.between = between;
        }

        static Place of(Tensor x, int[] wanted, List<Tensor> indices) {
            Shape shape = x.shape();
            int[] dims = wanted.clone();
            for (int i = 0; i < dims.length; i++) {
                dims[i] = x.layout().requireDim("index", wanted[i]);
            }
            boolean rising = dims.length > 0 && dims.length == indices.size();
            for (int i = 1; i < dims.length; i++) {
                rising &= dims[i - 1] < dims[i];
            }
            if (!rising) {
                throw new ShapeException(
                        Message.of("index: " + indices.size() + " tensors of indices for the dimensions "
                                        + Arrays.toString(wanted) + ", which must be as many, and rise")
                                .fact("x", x.describe()));
            }
            Shape chosen = Shape.SCALAR;
            for (Tensor t : indices) {
                Indexing.requireIndices("index", t, -1);
                chosen = Shape.broadcast("index", chosen, t.shape());
            }
            List<Long> between = new ArrayList<>();
            for (int d = dims[0] + 1, i = 1; d < dims[dims.length - 1]; d++) {
                if (dims[i] == d) {
                    i++;
                } else {
                    between.add(shape.size(d));
                }
            }
            return new Place(
                    shape,
                    dims,
                    chosen.toArray(),
                    between.stream().mapToLong(n -> n).toArray());
        }

        /** The sizes of x with the dimensions from the first to the last as one. */
        long[] flat() {
            return around(product(shape, first, last + 1));
        }

        private long[] around(long... middle) {
            long[] sizes = new long[shape.rank() - (last + 1 - first) + middle.length];
            for (int d = 0; d < first; d++) {
                sizes[d] = shape.size(d);
            }
            System.arraycopy(middle, 0, sizes, first, middle.length);
            for (int d = last + 1; d < shape.rank(); d++) {
                sizes[first + middle.length + d - last - 1] = shape.size(d);
            }
            return sizes;
        }

        private static long product(Shape shape, int from, int to) {
            long n = 1;
            for (int d = from; d < to; d++) {
                n *= shape.size(d);
            }
            return n;
        }

        private long[] middle() {
            long[] sizes = Arrays.copyOf(chosen, chosen.length + between.length);
            System.arraycopy(between, 0, sizes, chosen.length, between.length);
            return sizes;
        }

        /**
         * Where in the one dimension each choice lies: int64 or int32 [n]. An index becomes its part of that by a table of
         * its dimension, whose look-up counts negative ones from the end and refuses those that are out of range.
         */
        Tensor positions(Tensor x, List<Tensor> indices) {
            if (dims.length == 1) {
                return indices.get(0).reshape(-1);
            }
            @Nullable Tensor sum = null;
            long stride = 1;
            int kept = between.length;
            for (int d = last, i = dims.length - 1; d >= first; d--) {
                Tensor table = range(x, shape.size(d), stride);
                long[] sizes;
                if (dims[i] == d) {
                    Tensor index = indices.get(i--);
                    table = table.indexSelect(0, index.reshape(-1));
                    sizes = Arrays.copyOf(index.shape().toArray(), index.rank() + between.length);
                    Arrays.fill(sizes, index.rank(), sizes.length, 1);
                } else {
                    sizes = new long[between.length - --kept];
                    Arrays.fill(sizes, 1);
                    sizes[0] = shape.size(d);
                }
                Tensor part = table.view(sizes);
                sum = sum == null ? part : sum.add(part);
                stride *= shape.size(d);
            }
            return Objects.requireNonNull(sum).expand(middle()).reshape(-1);
        }

        /** The sizes of the result. */
        long[] result() {
            long[] apart = around(middle());
            int[] order = order();
            long[] sizes = new long[apart.length];
            for (int i = 0; i < sizes.length; i++) {
                sizes[i] = apart[order[i]];
            }
            return sizes;
        }

        /** What is chosen stands in place; in front, if something lies between. */
        private int[] order() {
            int rank = shape.rank() - (last + 1 - first) + chosen.length + between.length;
            int[] order = new int[rank];
            Arrays.setAll(order, i -> i);
            if (between.length > 0) {
                for (int i = 0; i < chosen.length; i++) {
                    order[i] = first + i;
                }
                for (int i = 0; i < first; i++) {
                    order[chosen.length + i] = i;
                }
            }
            return order;
        }

        /** Rows that were chosen, as the result has them. */
        Tensor arranged(Tensor rows) {
            Tensor apart = rows.view(around(middle()));
            return between.length == 0 ? apart : apart.permute(order());
        }

        /** The inverse of {@link #arranged}. */
        Tensor rows(Tensor result) {
            int[] order = order();
            int[] inverse = new int[order.length];
            for (int i = 0; i < order.length; i++) {
                inverse[order[i]] = i;
            }
            long[] sizes = around(product(Shape.of(middle()), 0, chosen.length + between.length));
            return (between.length == 0 ? result : result.permute(inverse)).reshape(sizes);
        }
    }

    /** 0, stride, 2·stride, …: int64 where {@code like} is. */
    static Tensor range(Tensor like, long size, long stride) {
        if (like.isMeta()) {
            return Tensor.meta(Shape.of(size), DType.INT64, like.device());
        }
        Tensor range = Tensor.arange(0L, size, 1L, DType.INT64, like.device());
        return stride == 1 ? range : range.mul(stride);
    }
}
