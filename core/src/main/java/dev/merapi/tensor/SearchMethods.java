// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.QuantileInterpolation;
import dev.merapi.ops.Quantiles;
import dev.merapi.ops.Searching;
import dev.merapi.ops.Uniques;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What is where, and how often: searching, counting, values once, middles. Where the size of a result depends on the data,
 * the host waits for the device.
 */
public abstract sealed class SearchMethods extends ScatterMethods permits RandomMethods {
    SearchMethods() {}

    // ---------------------------------------------------------------- places

    /**
     * Where values would have to be put into these rows, which are in rising order, to keep it. NaN is the largest of all.
     *
     * @param values of any shape if this is [n]; [*, m] for [*, n]
     * @param right whether behind equal elements, else before them
     * @return int64 in the shape of {@code values}, from 0 to n; not differentiable
     */
    public Tensor searchSorted(Tensor values, boolean right) {
        return Searching.searchSorted(self(), values, right);
    }

    /**
     * Between which of the boundaries each element lies: how many are less than it, or also equal to it.
     *
     * @param boundaries [n], in rising order
     * @param right whether boundaries that are equal count
     * @return int64 in this shape, from 0 to n; not differentiable
     */
    public Tensor bucketize(Tensor boundaries, boolean right) {
        Objects.requireNonNull(boundaries, "boundaries");
        if (boundaries.rank() != 1) {
            throw new ShapeException(Message.of("bucketize", "the boundaries have one dimension")
                    .fact("boundaries", boundaries.describe())
                    .fix("searchSorted takes rows of them."));
        }
        return Composition.of("merapi::bucketize", () -> boundaries.searchSorted(self(), right));
    }

    /**
     * Whether each element is one of some; NaN is none.
     *
     * @param elements of any shape
     * @return bool in this shape
     */
    public Tensor isIn(Tensor elements) {
        return Searching.isIn(self(), elements);
    }

    /**
     * {@link #nonzero}: the coordinates of the elements that are not 0.
     *
     * @return int64 [count, rank]
     */
    public Tensor argwhere() {
        return Composition.of("merapi::argwhere", () -> self().nonzero());
    }

    /**
     * The coordinates of the elements that are not 0, a tensor for each dimension: places for {@link #index}.
     *
     * @return int64 [count], as many as this has dimensions
     */
    public List<Tensor> nonzeroByDim() {
        return Composition.of("merapi::nonzero_by_dim", () -> self().nonzero().unbind(1));
    }

    /**
     * Each slice of a dimension as often as is said.
     *
     * @param repeats int32 or int64 [size of dim], none negative
     * @param dim the dimension, negative from the end
     * @return a new tensor, in {@code dim} of the size that all repeats add up to
     */
    public Tensor repeatInterleave(Tensor repeats, int dim) {
        Objects.requireNonNull(repeats, "repeats");
        Tensor x = self();
        return Composition.of("merapi::repeat_interleave", () -> {
            int d = x.layout().requireDim("repeat_interleave", dim);
            if (repeats.rank() != 1
                    || !repeats.dtype().isIntegral()
                    || repeats.size(0) != x.size(d)
                    || repeats.lt(0).any().itemBoolean()) {
                throw new ShapeException(Message.of(
                                "merapi::repeat_interleave",
                                "takes integers [" + x.size(d) + "], none of them negative")
                        .fact("x", x.describe())
                        .fact("repeats", repeats.describe()));
            }
            Tensor ends = repeats.to(DType.INT64).cumsum(0);
            long all = x.size(d) == 0 ? 0 : ends.select(0, -1).itemLong();
            Tensor each = Tensor.arange(0L, all, 1L, DType.INT64, x.device());
            return x.indexSelect(d, ends.searchSorted(each, true));
        });
    }

    // ---------------------------------------------------------------- values once

    /**
     * Each value once, in rising order; NaNs are all different.
     *
     * @return a new tensor of one dimension
     */
    public Tensor unique() {
        return uniqueWithCounts().values();
    }

    /**
     * Each value once, which of them each element is, and how often it is there.
     *
     * @return values [n] in rising order, the inverse in this shape, and counts [n]
     */
    public Uniques.Unique uniqueWithCounts() {
        return Uniques.sorted(self());
    }

    /**
     * Each slice of a dimension once, which of them each slice is, and how often it is there.
     *
     * @param dim the dimension, negative from the end
     * @return slices in rising order of their elements, the inverse [size of dim], and counts [n]
     */
    public Uniques.Unique uniqueWithCounts(int dim) {
        return Uniques.sorted(self(), dim);
    }

    /**
     * Each run of equal elements once, in row-major order.
     *
     * @return values [n], the inverse in this shape, and the lengths of the runs [n]
     */
    public Uniques.Unique uniqueConsecutive() {
        return Uniques.consecutive(self());
    }

    /**
     * Each run of equal slices of a dimension once, in their order.
     *
     * @param dim the dimension, negative from the end
     * @return slices, the inverse [size of dim], and the lengths of the runs [n]
     */
    public Uniques.Unique uniqueConsecutive(int dim) {
        return Uniques.consecutive(self(), dim);
    }

    // ---------------------------------------------------------------- counts

    /**
     * How often each number from 0 on is there.
     *
     * @param weights what each counts, [n]; null for 1
     * @param minLength of the result, at least
     * @return int64 [largest number + 1], or with weights float32 or float64
     * @throws ShapeException if this is not [n] of integers, none of them negative
     */
    public Tensor bincount(@Nullable Tensor weights, long minLength) {
        return Searching.bincount(self(), weights, minLength);
    }

    /**
     * How often each number from 0 on is there.
     *
     * @return int64 [largest number + 1]
     */
    public Tensor bincount() {
        return bincount(null, 0);
    }

    /**
     * How many elements lie in each of {@code bins} intervals of equal width; others, and NaN, are left out.
     *
     * @param bins how many, at least 1
     * @param low where the first interval begins
     * @param high where the last one ends, which is in it; if both are the same, the range of the elements
     * @return [bins], in this dtype; not differentiable
     */
    public Tensor histc(long bins, double low, double high) {
        return Searching.histc(self(), bins, low, high);
    }

    // ---------------------------------------------------------------- by order

    /**
     * The k-th smallest elements along a dimension, and where they are. NaN is the largest of all.
     *
     * @param k from 1 to the dimension's size
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @return values in this dtype, indices in int64
     */
    public Ordering.Ordered kthValue(long k, int dim, boolean keepDim) {
        return Searching.kthValue(self(), k, dim, keepDim);
    }

    /**
     * The middle element in order, of two the smaller; NaN if there is one.
     *
     * @return a new 0-d tensor
     */
    public Tensor median() {
        return Composition.of(
                "merapi::median", () -> self().reshape(-1).median(0, false).values());
    }

    /**
     * The middle elements along a dimension, of two the smaller, and where they are; NaN if there is one.
     *
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @return values in this dtype, indices in int64
     */
    public Ordering.Ordered median(int dim, boolean keepDim) {
        return Searching.median(self(), dim, keepDim, false);
    }

    /**
     * The middle of those that are not NaN.
     *
     * @return a new 0-d tensor; NaN if all are
     */
    public Tensor nanMedian() {
        return Composition.of(
                "merapi::nan_median",
                () -> self().reshape(-1).nanMedian(0, false).values());
    }

    /**
     * The middles of those that are not NaN along a dimension, and where they are.
     *
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @return values in this dtype, indices in int64
     */
    public Ordering.Ordered nanMedian(int dim, boolean keepDim) {
        return Searching.median(self(), dim, keepDim, true);
    }

    /**
     * The most frequent values along a dimension, of several the smallest, and the last index that has it.
     *
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @return values in this dtype, indices in int64
     */
    public Ordering.Ordered mode(int dim, boolean keepDim) {
        return Searching.mode(self(), dim, keepDim);
    }

    /**
     * The quantile of all elements, on the straight line between two.
     *
     * @param q the probability, from 0 to 1: 0.5 is the median
     * @return a new 0-d tensor; NaN if there is one
     */
    public Tensor quantile(double q) {
        return Quantiles.quantile(self().reshape(-1), q, 0, false, QuantileInterpolation.LINEAR, false);
    }

    /**
     * The quantile along a dimension, on the straight line between two elements.
     *
     * @param q the probability, from 0 to 1
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @return a new tensor of this dtype, which must be floating
     */
    public Tensor quantile(double q, int dim, boolean keepDim) {
        return Quantiles.quantile(self(), q, dim, keepDim, QuantileInterpolation.LINEAR, false);
    }

    /**
     * The quantile along a dimension, for several probabilities.
     *
     * @param q probabilities from 0 to 1: floats [k], or 0-d
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @param how what stands for a place between two elements
     * @return a new tensor of this dtype, which must be floating; with [k] probabilities a dimension of k stands in front
     */
    public Tensor quantile(Tensor q, int dim, boolean keepDim, QuantileInterpolation how) {
        return Quantiles.quantile(self(), q, dim, keepDim, how, false);
    }

    /**
     * The quantile of those that are not NaN of all elements, on the straight line between two.
     *
     * @param q the probability, from 0 to 1: 0.5 is the median
     * @return a new 0-d tensor; NaN if all are
     */
    public Tensor nanQuantile(double q) {
        return Quantiles.quantile(self().reshape(-1), q, 0, false, QuantileInterpolation.LINEAR, true);
    }

    /**
     * The quantile of those that are not NaN along a dimension, on the straight line between two elements.
     *
     * @param q the probability, from 0 to 1
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @return a new tensor of this dtype, which must be floating
     */
    public Tensor nanQuantile(double q, int dim, boolean keepDim) {
        return Quantiles.quantile(self(), q, dim, keepDim, QuantileInterpolation.LINEAR, true);
    }

    /**
     * The quantile of those that are not NaN along a dimension, for several probabilities.
     *
     * @param q probabilities from 0 to 1: floats [k], or 0-d
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @param how what stands for a place between two elements
     * @return a new tensor of this dtype, which must be floating; with [k] probabilities a dimension of k stands in front
     */
    public Tensor nanQuantile(Tensor q, int dim, boolean keepDim, QuantileInterpolation how) {
        return Quantiles.quantile(self(), q, dim, keepDim, how, true);
    }

    /**
     * Sorted along the first dimension, in rising order.
     *
     * @return a new tensor of this shape
     */
    public Tensor msort() {
        return Composition.of("merapi::msort", () -> sort(0).values());
    }
}
