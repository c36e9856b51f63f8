// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Scans;
import dev.merapi.ops.Softmax;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What joins many elements: reductions, running sums. Reductions take any dimensions, all if none is named; negative
 * ones count from the end.
 */
public abstract sealed class TensorMethods extends ProductMethods permits Tensor {
    private static final int[] ALL = {};

    TensorMethods() {}

    // ---------------------------------------------------------------- reductions

    /**
     * Sums; integers and bools give int64. Over nothing 0. Small floats add up in float32, which is rounded once.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor sum(int... dims) {
        return Reductions.SUM.call(self(), dims, false, null);
    }

    /**
     * Sums over some dimensions, which stay with size 1 if wanted.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor sum(int[] dims, boolean keepDim) {
        return Reductions.SUM.call(self(), dims, keepDim, null);
    }

    /**
     * Sums in a dtype of the caller's choice.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @param dtype in which is added, and of the result; null for that of {@link #sum(int...)}
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor sum(int[] dims, boolean keepDim, @Nullable DType dtype) {
        return Reductions.SUM.call(self(), dims, keepDim, dtype);
    }

    /**
     * Sums over what broadcasting repeated, so that the result has that shape.
     *
     * @param shape one that broadcasts to this shape
     * @return a tensor of that shape; this one if it has it already
     */
    public Tensor sumTo(Shape shape) {
        Objects.requireNonNull(shape, "shape");
        Tensor t = self();
        if (t.shape().equals(shape)) {
            t.requireOpen("sumTo", "x");
            return t;
        }
        if (!shape.expandableTo(t.shape())) {
            throw new ShapeException(Message.of("sumTo", "shape " + shape + " does not broadcast to " + t.shape())
                    .fix("name a shape that expand could make this one of."));
        }
        int extra = t.rank() - shape.rank();
        int[] dims = new int[t.rank()];
        int n = 0;
        for (int d = 0; d < t.rank(); d++) {
            if (d < extra || shape.size(d - extra) == 1 && t.size(d) != 1) {
                dims[n++] = d;
            }
        }
        Tensor s = n == 0 ? t : sum(java.util.Arrays.copyOf(dims, n));
        return s.shape().equals(shape) ? s : s.reshape(shape.toArray());
    }

    /**
     * Means; floating dtypes only. Over nothing NaN.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor mean(int... dims) {
        return Reductions.MEAN.call(self(), dims, false, null);
    }

    /**
     * Means over some dimensions; floating dtypes only. Over nothing NaN.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor mean(int[] dims, boolean keepDim) {
        return Reductions.MEAN.call(self(), dims, keepDim, null);
    }

    /**
     * Products; integers and bools give int64. Over nothing 1.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor prod(int... dims) {
        return Reductions.PROD.call(self(), dims, false, null);
    }

    /**
     * Products over some dimensions; integers and bools give int64. Over nothing 1.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor prod(int[] dims, boolean keepDim) {
        return Reductions.PROD.call(self(), dims, keepDim, null);
    }

    /**
     * The largest values; NaN wins. Ties, and NaNs, share the gradient evenly. An error over nothing.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions, in this dtype
     */
    public Tensor amax(int... dims) {
        return Reductions.AMAX.call(self(), dims, false, null);
    }

    /**
     * The largest values over some dimensions, as {@link #amax(int...)}.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor amax(int[] dims, boolean keepDim) {
        return Reductions.AMAX.call(self(), dims, keepDim, null);
    }

    /**
     * The smallest values; NaN wins. Ties, and NaNs, share the gradient evenly. An error over nothing.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions, in this dtype
     */
    public Tensor amin(int... dims) {
        return Reductions.AMIN.call(self(), dims, false, null);
    }

    /**
     * The smallest values over some dimensions, as {@link #amin(int...)}.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor amin(int[] dims, boolean keepDim) {
        return Reductions.AMIN.call(self(), dims, keepDim, null);
    }

    /**
     * The largest value of all; 0-d. As {@link #amax(int...)}.
     *
     * @return a new 0-d tensor
     */
    public Tensor max() {
        return Reductions.AMAX.call(self(), ALL, false, null);
    }

    /**
     * The smallest value of all; 0-d. As {@link #amin(int...)}.
     *
     * @return a new 0-d tensor
     */
    public Tensor min() {
        return Reductions.AMIN.call(self(), ALL, false, null);
    }

    /**
     * The largest values along a dimension and their indices; of equals the first, and the gradient goes to it alone.
     *
     * @param dim the dimension, negative from the end
     * @param keepDim whether these dimensions stay, with size 1
     * @return values in this dtype, indices in int64
     */
    public Reductions.Extremes max(int dim, boolean keepDim) {
        return Reductions.extremes(self(), dim, keepDim, true);
    }

    /**
     * The smallest values along a dimension and their indices; of equals the first.
     *
     * @param dim the dimension, negative from the end
     * @param keepDim whether these dimensions stay, with size 1
     * @return values in this dtype, indices in int64
     */
    public Reductions.Extremes min(int dim, boolean keepDim) {
        return Reductions.extremes(self(), dim, keepDim, false);
    }

    /**
     * Index of the first largest element, int64, in the row-major order of the reduced dimensions; NaN wins.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions; not differentiable
     */
    public Tensor argmax(int... dims) {
        return Reductions.ARGMAX.call(self(), dims, false, null);
    }

    /**
     * As {@link #argmax(int...)}, over some dimensions.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor argmax(int[] dims, boolean keepDim) {
        return Reductions.ARGMAX.call(self(), dims, keepDim, null);
    }

    /**
     * Index of the first smallest element, int64; NaN wins.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions; not differentiable
     */
    public Tensor argmin(int... dims) {
        return Reductions.ARGMIN.call(self(), dims, false, null);
    }

    /**
     * As {@link #argmin(int...)}, over some dimensions.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor argmin(int[] dims, boolean keepDim) {
        return Reductions.ARGMIN.call(self(), dims, keepDim, null);
    }

    /**
     * True where any element is not 0; NaN is not 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions, bool
     */
    public Tensor any(int... dims) {
        return Reductions.ANY.call(self(), dims, false, null);
    }

    /**
     * True where no element is 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions, bool; true over nothing
     */
    public Tensor all(int... dims) {
        return Reductions.ALL.call(self(), dims, false, null);
    }

    /**
     * How many elements are not 0, int64.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions; not differentiable
     */
    public Tensor countNonzero(int... dims) {
        return Reductions.COUNT_NONZERO.call(self(), dims, false, null);
    }

    /**
     * The unbiased variance Σ(x − mean)² / (n − 1); NaN for n = 1. Floating dtypes only.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor var(int... dims) {
        return var(dims, true, false);
    }

    /**
     * Σ(x − mean)² / (n − 1), or / n if not unbiased. Floating dtypes only.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param unbiased whether to divide by n − 1
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor var(int[] dims, boolean unbiased, boolean keepDim) {
        return Reductions.VAR.call(new ReduceArgs.Var(self(), dims, keepDim, unbiased ? 1 : 0));
    }

    /**
     * The root of {@link #var(int...)}.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor std(int... dims) {
        return std(dims, true, false);
    }

    /**
     * The root of the variance; where that is 0 its gradient is 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param unbiased whether the variance divides by n − 1
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor std(int[] dims, boolean unbiased, boolean keepDim) {
        return Reductions.STD.call(new ReduceArgs.Var(self(), dims, keepDim, unbiased ? 1 : 0));
    }

    /**
     * The Euclidean norm √Σx²; where it is 0 its gradient is 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor norm(int... dims) {
        return Reductions.norm(self(), 2, dims, false);
    }

    /**
     * (Σ|x|^p)^(1/p) for p > 0; p = ∞ gives the largest |x|, p = 0 how many are not 0. The gradient of an element that is 0 is
     * 0, and so are all where the norm is 0. Floating dtypes only.
     *
     * @param p the order, at least 0
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor norm(double p, int[] dims, boolean keepDim) {
        return Reductions.norm(self(), p, dims, keepDim);
    }

    /**
     * The mean, converted to a dtype before.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @param dtype to convert to before, and of the result; null for the usual one
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor mean(int[] dims, boolean keepDim, @Nullable DType dtype) {
        return Reductions.MEAN.call(as("mean", dtype), dims, keepDim, null);
    }

    /**
     * The product, converted to a dtype before.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @param dtype to convert to before, and of the result; null for the usual one
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor prod(int[] dims, boolean keepDim, @Nullable DType dtype) {
        return Reductions.PROD.call(self(), dims, keepDim, dtype);
    }

    /**
     * Whether one is not 0; false over nothing.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new bool tensor; these dimensions have size 1 or are gone
     */
    public Tensor any(int[] dims, boolean keepDim) {
        return Reductions.ANY.call(self(), dims, keepDim, null);
    }

    /**
     * Whether none is 0; true over nothing.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new bool tensor; these dimensions have size 1 or are gone
     */
    public Tensor all(int[] dims, boolean keepDim) {
        return Reductions.ALL.call(self(), dims, keepDim, null);
    }

    /**
     * The sum, in which NaNs count as 0; their gradient is 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor nansum(int... dims) {
        return nansum(dims, false, null);
    }

    /**
     * The sum, in which NaNs count as 0; their gradient is 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor nansum(int[] dims, boolean keepDim, @Nullable DType dtype) {
        return Reductions.NANSUM.call(self(), dims, keepDim, dtype);
    }

    /**
     * The mean of those that are numbers; NaN if none is. Floating dtypes only.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor nanmean(int... dims) {
        return Reductions.nanmean(self(), dims, false);
    }

    /**
     * The mean of those that are numbers; NaN if none is. Floating dtypes only.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor nanmean(int[] dims, boolean keepDim) {
        return Reductions.nanmean(self(), dims, keepDim);
    }

    /**
     * The smallest and the largest over some dimensions; ties share the gradient evenly.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return two new tensors; these dimensions have size 1 or are gone
     */
    public Reductions.MinMax aminmax(int[] dims, boolean keepDim) {
        return new Reductions.MinMax(amin(dims, keepDim), amax(dims, keepDim));
    }

    /**
     * The variance Σ(x − mean)² / (n − correction). Floating dtypes only.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param correction what n is lowered by, at least 0
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor var(int[] dims, double correction, boolean keepDim) {
        return Reductions.VAR.call(new ReduceArgs.Var(self(), dims, keepDim, correction));
    }

    /**
     * The root of the variance with a correction; where that is 0 its gradient is 0.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param correction what n is lowered by, at least 0
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor std(int[] dims, double correction, boolean keepDim) {
        return Reductions.STD.call(new ReduceArgs.Var(self(), dims, keepDim, correction));
    }

    /**
     * The variance, and the mean.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param correction what n is lowered by: 1 for the unbiased variance
     * @param keepDim whether these dimensions stay, with size 1
     * @return two new tensors; these dimensions have size 1 or are gone
     */
    public Reductions.Spread varMean(int[] dims, double correction, boolean keepDim) {
        return new Reductions.Spread(var(dims, correction, keepDim), mean(dims, keepDim));
    }

    /**
     * The standard deviation, and the mean.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param correction what n is lowered by: 1 for the unbiased variance
     * @param keepDim whether these dimensions stay, with size 1
     * @return two new tensors; these dimensions have size 1 or are gone
     */
    public Reductions.Spread stdMean(int[] dims, double correction, boolean keepDim) {
        return new Reductions.Spread(std(dims, correction, keepDim), mean(dims, keepDim));
    }

    /**
     * Sums of all elements along a dimension up to and with each one. Integers and bools give int64.
     *
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape
     */
    public Tensor cumsum(int dim) {
        return Reductions.CUMSUM.call(new Reductions.CumSum(self(), dim));
    }

    /**
     * {@link #cumsum(int)}, converted to a dtype before.
     *
     * @param dim the dimension, negative from the end
     * @param dtype to convert to
     * @return a new tensor of this shape
     */
    public Tensor cumsum(int dim, DType dtype) {
        return as("cumsum", dtype).cumsum(dim);
    }

    /**
     * Products of all elements along a dimension up to and with each one. Integers and bools give int64.
     *
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape
     */
    public Tensor cumprod(int dim) {
        return Scans.CUMPROD.call(new Scans.Along(self(), dim));
    }

    /**
     * {@link #cumprod(int)}, converted to a dtype before.
     *
     * @param dim the dimension, negative from the end
     * @param dtype to convert to
     * @return a new tensor of this shape
     */
    public Tensor cumprod(int dim, DType dtype) {
        return as("cumprod", dtype).cumprod(dim);
    }

    /**
     * The largest of all elements along a dimension up to and with each one, and where it stands: the last of equals. NaN wins.
     *
     * @param dim the dimension, negative from the end
     * @return values of this shape and dtype, and int64 indices
     */
    public Scans.Extremes cummax(int dim) {
        return Scans.CUMMAX.call(new Scans.Along(self(), dim));
    }

    /**
     * The smallest of all elements along a dimension up to and with each one, and where it stands: the last of equals. NaN wins.
     *
     * @param dim the dimension, negative from the end
     * @return values of this shape and dtype, and int64 indices
     */
    public Scans.Extremes cummin(int dim) {
        return Scans.CUMMIN.call(new Scans.Along(self(), dim));
    }

    /**
     * log Σ exp(x) of all elements along a dimension up to and with each one, without overflow. Floating dtypes only.
     *
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape
     */
    public Tensor logCumSumExp(int dim) {
        return Scans.LOG_CUM_SUM_EXP.call(new Scans.Along(self(), dim));
    }

    /**
     * log Σ exp(x), without overflow; −∞ over nothing. Floating dtypes only.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @return a new tensor without these dimensions
     */
    public Tensor logSumExp(int... dims) {
        return Softmax.logSumExp(self(), dims, false);
    }

    /**
     * As {@link #logSumExp(int...)}, over some dimensions.
     *
     * @param dims which dimensions, negative from the end; all if none is named
     * @param keepDim whether these dimensions stay, with size 1
     * @return a new tensor; these dimensions have size 1 or are gone
     */
    public Tensor logSumExp(int[] dims, boolean keepDim) {
        return Softmax.logSumExp(self(), dims, keepDim);
    }

    // ---------------------------------------------------------------- softmax

    /**
     * exp(x) / Σ exp(x) along a dimension. Floating dtypes only; small floats compute in float32.
     *
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape and dtype, whose values add up to 1
     */
    public Tensor softmax(int dim) {
        return Softmax.SOFTMAX.call(new Softmax.Along(self(), dim));
    }

    /**
     * x − log Σ exp(x) along a dimension.
     *
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape and dtype
     */
    public Tensor logSoftmax(int dim) {
        return Softmax.LOG_SOFTMAX.call(new Softmax.Along(self(), dim));
    }

    /**
     * {@link #softmax(int)}, converted to a dtype before.
     *
     * @param dim the dimension, negative from the end
     * @param dtype to convert to
     * @return a new tensor of this shape
     */
    public Tensor softmax(int dim, DType dtype) {
        return as("softmax", dtype).softmax(dim);
    }

    /**
     * {@link #logSoftmax(int)}, converted to a dtype before.
     *
     * @param dim the dimension, negative from the end
     * @param dtype to convert to
     * @return a new tensor of this shape
     */
    public Tensor logSoftmax(int dim, DType dtype) {
        return as("logSoftmax", dtype).logSoftmax(dim);
    }

    /**
     * {@link #softmax(int)} of the negated elements.
     *
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape
     */
    public Tensor softmin(int dim) {
        return self().neg().softmax(dim);
    }

    // ---------------------------------------------------------------- products of matrices

    /**
     * Matrix product: [.., M, K]·[.., K, N] → [.., M, N]; leading dimensions broadcast, vectors count as a row on the
     * left and as a column on the right. Both of one dtype, any but bool; transposed operands are not copied.
     *
     * @param other [.., K, N] or [K]; on the same device
     * @return a new tensor, of this dtype
     * @throws dev.merapi.error.ShapeException if the inner sizes differ
     * @throws dev.merapi.error.DTypeException if the dtypes differ
     */
    public Tensor matmul(Tensor other) {
        return LinearAlgebra.matmul(self(), other);
    }

    /**
     * {@link #matmul} of batches: [B, M, K]·[B, K, N], nothing broadcast.
     *
     * @param other [B, K, N]
     * @return a new tensor [B, M, N]
     */
    public Tensor bmm(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor a = self();
        if (a.rank() != 3 || other.rank() != 3 || a.size(0) != other.size(0)) {
            throw new ShapeException("bmm: takes [B, M, K] and [B, K, N]\n  a: " + a.describe() + "\n  b: "
                    + other.describe() + "\n  fix: matmul takes other ranks, and broadcasts.");
        }
        return LinearAlgebra.matmul(a, other);
    }

    /**
     * x·weightᵀ + bias for x [.., in], weight [out, in], bias [out] or null → [.., out].
     *
     * @param weight [out, in]
     * @param bias [out], or null for none
     * @return a new tensor [.., out], of this dtype
     */
    public Tensor linear(Tensor weight, @Nullable Tensor bias) {
        return LinearAlgebra.linear(self(), weight, bias);
    }

    /**
     * softmax(q·kᵀ / √D)·v for these queries q: {@link Attention#attention(Tensor, Tensor, Tensor, Attention.Options)}.
     *
     * @param k keys, [.., positions, width]
     * @param v values, one for each key
     * @return one row for each query, of the width of the values
     */
    public Tensor scaledDotProductAttention(Tensor k, Tensor v) {
        return scaledDotProductAttention(k, v, Attention.options());
    }

    /**
     * As above, with a mask, dropout and more: {@link Attention#attention(Tensor, Tensor, Tensor, Attention.Options)}.
     *
     * @param k keys, [.., positions, width]
     * @param v values, one for each key
     * @param options mask, scale, dropout and shared heads
     * @return one row for each query, of the width of the values
     */
    public Tensor scaledDotProductAttention(Tensor k, Tensor v, Attention.Options options) {
        return Attention.attention(self(), k, v, options);
    }

    private Tensor as(String op, @Nullable DType dtype) {
        self().requireOpen(op, "x");
        return dtype == null ? self() : self().to(dtype);
    }
}
