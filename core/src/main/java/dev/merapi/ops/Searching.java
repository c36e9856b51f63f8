// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;

/** Places in sorted rows, and what is found by sorting: middles, most frequent values, members. */
public final class Searching {
    private Searching() {}

    /**
     * What {@link #SEARCH_SORTED} takes.
     *
     * @param sorted [*, n], each row in rising order; or [n], one row for all
     * @param values [*, m] of the same dtype; of any shape if there is one row
     * @param right whether equals are passed
     */
    public record SearchSorted(Tensor sorted, Tensor values, boolean right) {}

    /** How many elements of its row are less than each value, or also equal to it: int64. NaN is the largest of all. */
    public static final Op<SearchSorted, Tensor> SEARCH_SORTED = Op.define(
                    "merapi::search_sorted", SearchSorted.class, Tensor.class)
            .kernelType(a -> a.values().dtype())
            .nonDifferentiable()
            .shape(a -> {
                LinearAlgebra.requireSameDType("search_sorted", a.sorted(), "sorted", a.values(), "values");
                int rank = a.sorted().rank();
                if (rank == 0
                        || rank > 1
                                && (a.values().rank() != rank
                                        || !a.values()
                                                .shape()
                                                .without(-1)
                                                .equals(a.sorted().shape().without(-1)))) {
                    throw new ShapeException(
                            Message.of("search_sorted: takes sorted [n], or sorted [*, n] and values [*, m]")
                                    .fact("sorted", a.sorted().describe())
                                    .fact("values", a.values().describe()));
                }
                return Tensor.meta(a.values().shape(), DType.INT64, a.values().device());
            })
            .register();

    /**
     * Where each value would be put into its row so that the order stays; the operands are converted to the dtype
     * that they promote to.
     *
     * @param sorted [*, n], each row in rising order; or [n], one row for all
     * @param values [*, m]; of any shape if there is one row
     * @param right whether a value comes behind its equals, else before them
     * @return int64, of the shape of the values, from 0 to n
     * @throws ShapeException if the rows do not fit
     */
    public static Tensor searchSorted(Tensor sorted, Tensor values, boolean right) {
        Objects.requireNonNull(sorted, "sorted");
        Objects.requireNonNull(values, "values");
        return Composition.of("merapi::search_sorted", () -> {
            DType dtype = DType.promote(sorted.dtype(), values.dtype());
            return SEARCH_SORTED.call(new SearchSorted(sorted.to(dtype), values.to(dtype), right));
        });
    }

    /**
     * Whether each element of x is one of some; NaN is none.
     *
     * @param x of any shape
     * @param elements of any shape; promoted with x
     * @return bool, of the shape of x
     */
    public static Tensor isIn(Tensor x, Tensor elements) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(elements, "elements");
        return Composition.of("merapi::is_in", () -> {
            DType dtype = DType.promote(x.dtype(), elements.dtype());
            Tensor sorted = elements.to(dtype).reshape(-1).sort(0).values();
            Tensor values = x.to(dtype);
            Tensor found = searchSorted(sorted, values, true).gt(searchSorted(sorted, values, false));
            return dtype.isFloating() ? found.logicalAnd(values.isNan().logicalNot()) : found;
        });
    }

    // ---------------------------------------------------------------- by the order of a dimension

    private static Ordering.Ordered taken(Tensor x, int dim, Tensor indices, boolean keepDim) {
        Tensor values = x.gather(dim, indices);
        return keepDim || x.rank() == 0
                ? new Ordering.Ordered(values, indices)
                : new Ordering.Ordered(values.squeeze(dim), indices.squeeze(dim));
    }

    private static void requireSome(String op, Tensor x, int dim) {
        if (x.rank() > 0 && x.size(dim) == 0) {
            throw new ShapeException(Message.of(op, "there is nothing along dimension " + dim)
                    .fact("x", x.describe())
                    .fix("leave the call out where a size is 0."));
        }
    }

    /**
     * The k-th smallest along a dimension, k from 1 on; of equals the first in order.
     *
     * @param x of any dtype
     * @param k from 1 to the size of the dimension
     * @param dim negative ones count from the end
     * @param keepDim whether the dimension stays, with size 1
     * @return the values, which have a gradient, and int64 indices
     * @throws ShapeException if there are fewer than k elements
     */
    public static Ordering.Ordered kthValue(Tensor x, long k, int dim, boolean keepDim) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::kth_value", () -> {
            int d = x.shape().normalize(dim);
            if (k < 1) {
                throw new ShapeException(Message.of("merapi::kth_value", "k is " + k + ", but counts from 1")
                        .argument("k"));
            }
            Tensor smallest = x.topk(k, d, false).indices();
            return taken(x, d, x.rank() == 0 ? smallest : smallest.narrow(d, k - 1, 1), keepDim);
        });
    }

    /**
     * The middle along a dimension, of two the smaller.
     *
     * @param x of any dtype, not empty along the dimension
     * @param dim negative ones count from the end
     * @param keepDim whether the dimension stays, with size 1
     * @param skipsNan whether NaNs are left out, else one makes the result NaN
     * @return the values, which have a gradient, and int64 indices
     * @throws ShapeException if there is nothing along the dimension
     */
    public static Ordering.Ordered median(Tensor x, int dim, boolean keepDim, boolean skipsNan) {
        Objects.requireNonNull(x, "x");
        return Composition.of(skipsNan ? "merapi::nan_median" : "merapi::median", () -> {
            int d = x.shape().normalize(dim);
            requireSome("merapi::median", x, d);
            Tensor order = x.sort(d).indices();
            long n = x.rank() == 0 ? 1 : x.size(d);
            if (x.rank() == 0) {
                return taken(x, d, order, keepDim);
            }
            if (!x.dtype().isFloating()) {
                return taken(x, d, order.narrow(d, (n - 1) / 2, 1), keepDim);
            }
            // NaNs are the last ones.
            Tensor nans = x.detach().isNan().sum(new int[] {d}, true);
            Tensor numbers = nans.rsub(n);
            Tensor place = skipsNan
                    ? numbers.sub(1).clampMin(0).floorDivide(2)
                    : Tensor.where(nans.gt(0), numbers, numbers.fullLike((n - 1) / 2));
            return taken(x, d, order.gather(d, place), keepDim);
        });
    }

    /**
     * The value that is there most often along a dimension, of several the smallest, and the last index that it has.
     *
     * @param x of any dtype, not empty along the dimension
     * @param dim negative ones count from the end
     * @param keepDim whether the dimension stays, with size 1
     * @return the values, which have a gradient, and int64 indices
     * @throws ShapeException if there is nothing along the dimension
     */
    public static Ordering.Ordered mode(Tensor x, int dim, boolean keepDim) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::mode", () -> {
            int d = x.shape().normalize(dim);
            requireSome("merapi::mode", x, d);
            Ordering.Ordered sorted = x.detach().sort(d);
            if (x.rank() == 0) {
                return taken(x, d, sorted.indices(), keepDim);
            }
            long n = x.size(d);
            Tensor values = sorted.values();
            Tensor first = values.narrow(d, 1, n - 1).ne(values.narrow(d, 0, n - 1));
            Tensor begins =
                    Joining.pad(first.moveDim(d, -1), new long[] {1, 0}, 0).moveDim(-1, d);
            Tensor run = begins.to(DType.INT64).cumsum(d); // 0, 0, 1, 1, 1, 2, …
            Tensor length = run.zerosLike().scatterAdd(d, run, run.onesLike());
            Tensor longest = length.argmax(new int[] {d}, true);
            Tensor end = length.cumsum(d).gather(d, longest).sub(1);
            return taken(x, d, sorted.indices().gather(d, end), keepDim);
        });
    }

    // ---------------------------------------------------------------- counts

    /**
     * How often each number from 0 on is there, or the sums of weights. The host waits for the largest number.
     *
     * @param x [n], integers that are not negative
     * @param weights [n], summed in float32 or float64; or null to count
     * @param least how long the result is at least
     * @return [n], where n is max(x) + 1 or, if that is more, {@code least}; int64 without weights
     * @throws ShapeException if x is no list of integers, or one is negative
     */
    public static Tensor bincount(Tensor x, @org.jspecify.annotations.Nullable Tensor weights, long least) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::bincount", () -> {
            if (x.rank() != 1 || !x.dtype().isIntegral() || least < 0) {
                throw new ShapeException(Message.of(
                                "merapi::bincount",
                                least < 0
                                        ? "a length of at least " + least
                                        : "takes integers [n], but got " + x.describe())
                        .fact("x", x.describe())
                        .fix(least < 0 ? "0 for as many as there are." : "flatten(), or to(DType.INT64)."));
            }
            long most = x.numel() == 0 ? -1 : x.max().itemLong();
            if (x.numel() > 0 && x.min().itemLong() < 0) {
                throw new ShapeException(Message.of("merapi::bincount", "there are negative numbers")
                        .fact("x", x.describe())
                        .fact("least", x.min().itemLong())
                        .fix("count x.sub(x.min())."));
            }
            DType dtype =
                    weights == null ? DType.INT64 : weights.dtype() == DType.FLOAT32 ? DType.FLOAT32 : DType.FLOAT64;
            Tensor counted = weights == null ? Tensor.ones(x.shape(), dtype, x.device()) : weights.to(dtype);
            Shape shape = Shape.of("bincount", Math.max(Math.addExact(most, 1), least));
            return Tensor.zeros(shape, dtype, x.device()).scatterAdd(0, x.to(DType.INT64), counted);
        });
    }

    /**
     * How many elements lie in each of as many equal intervals of [low, high]; of the range of x if both are the
     * same. What lies outside does not count; {@code high} belongs to the last interval.
     *
     * @param x floating, of any shape
     * @param bins how many intervals, at least 1
     * @param low where the first begins
     * @param high where the last ends
     * @return [bins], in the dtype of x
     * @throws DTypeException if x is not floating
     * @throws ShapeException if there is no interval, or the bounds are not finite and in order
     */
    public static Tensor histc(Tensor x, long bins, double low, double high) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::histc", () -> {
            if (!x.dtype().isFloating()) {
                throw new DTypeException(Message.of("merapi::histc", "takes floats, but x is " + x.describe())
                        .fix("to(DType.FLOAT32)."));
            }
            if (bins < 1) {
                throw new ShapeException(
                        Message.of("merapi::histc", bins + " intervals").argument("bins"));
            }
            double from = low;
            double to = high;
            if (low == high && x.numel() > 0) {
                from = x.min().item();
                to = x.max().item();
            }
            if (from == to) {
                from--;
                to++;
            }
            if (!(from < to) || Double.isInfinite(to - from)) {
                throw new ShapeException(
                        Message.of("merapi::histc", "[" + from + ", " + to + "] is not a finite interval")
                                .fact("x", x.describe())
                                .fix("low < high, both finite."));
            }
            Tensor flat = x.detach().reshape(-1).to(x.dtype().computeType());
            Tensor inside = flat.ge(from).logicalAnd(flat.le(to));
            Tensor bin = flat.sub(from).mul(bins).div(to - from);
            Tensor place =
                    Tensor.where(inside, bin, bin.zerosLike()).to(DType.INT64).minimum(bins - 1);
            Shape shape = Shape.of("histc", bins);
            return Tensor.zeros(shape, flat.dtype(), x.device())
                    .scatterAdd(0, place, inside.to(flat.dtype()))
                    .to(x.dtype());
        });
    }
}
