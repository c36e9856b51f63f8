// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Softmax;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What joins many elements: reductions, running sums. Reductions take any dimensions, all if none is named; negative
 * ones count from the end.
 */
public abstract sealed class TensorMethods extends DataMethods permits Tensor {
    private static final int[] ALL = {};

    TensorMethods() {}

    // ---------------------------------------------------------------- reductions

    /** Sums; integers and bools give int64. Over nothing 0. */
    public Tensor sum(int... dims) {
        return Reductions.SUM.call(self(), dims, false, null);
    }

    /** Sums over some dimensions, which stay with size 1 if wanted. */
    public Tensor sum(int[] dims, boolean keepDim) {
        return Reductions.SUM.call(self(), dims, keepDim, null);
    }

    /** Sums in a dtype of the caller's choice. */
    public Tensor sum(int[] dims, boolean keepDim, @Nullable DType dtype) {
        return Reductions.SUM.call(self(), dims, keepDim, dtype);
    }

    /** Sums over what broadcasting repeated, so that the result has that shape. */
    public Tensor sumTo(Shape shape) {
        Objects.requireNonNull(shape, "shape");
        Tensor t = self();
        if (t.shape().equals(shape)) {
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

    /** Means; floating dtypes only. Over nothing NaN. */
    public Tensor mean(int... dims) {
        return Reductions.MEAN.call(self(), dims, false, null);
    }

    public Tensor mean(int[] dims, boolean keepDim) {
        return Reductions.MEAN.call(self(), dims, keepDim, null);
    }

    /** Products; integers and bools give int64. Over nothing 1. */
    public Tensor prod(int... dims) {
        return Reductions.PROD.call(self(), dims, false, null);
    }

    public Tensor prod(int[] dims, boolean keepDim) {
        return Reductions.PROD.call(self(), dims, keepDim, null);
    }

    /** The largest values; NaN wins. Ties, and NaNs, share the gradient evenly. An error over nothing. */
    public Tensor amax(int... dims) {
        return Reductions.AMAX.call(self(), dims, false, null);
    }

    public Tensor amax(int[] dims, boolean keepDim) {
        return Reductions.AMAX.call(self(), dims, keepDim, null);
    }

    /** The smallest values; NaN wins. Ties, and NaNs, share the gradient evenly. An error over nothing. */
    public Tensor amin(int... dims) {
        return Reductions.AMIN.call(self(), dims, false, null);
    }

    public Tensor amin(int[] dims, boolean keepDim) {
        return Reductions.AMIN.call(self(), dims, keepDim, null);
    }

    /** The largest value of all; 0-d. As {@link #amax(int...)}. */
    public Tensor max() {
        return Reductions.AMAX.call(self(), ALL, false, null);
    }

    /** The smallest value of all; 0-d. As {@link #amin(int...)}. */
    public Tensor min() {
        return Reductions.AMIN.call(self(), ALL, false, null);
    }

    /** The largest values along a dimension and their indices; of equals the first, and the gradient goes to it alone. */
    public Reductions.Extremes max(int dim, boolean keepDim) {
        return Reductions.extremes(self(), dim, keepDim, true);
    }

    /** The smallest values along a dimension and their indices; of equals the first. */
    public Reductions.Extremes min(int dim, boolean keepDim) {
        return Reductions.extremes(self(), dim, keepDim, false);
    }

    /** Index of the first largest element, int64, in the row-major order of the reduced dimensions; NaN wins. */
    public Tensor argmax(int... dims) {
        return Reductions.ARGMAX.call(self(), dims, false, null);
    }

    public Tensor argmax(int[] dims, boolean keepDim) {
        return Reductions.ARGMAX.call(self(), dims, keepDim, null);
    }

    /** Index of the first smallest element, int64; NaN wins. */
    public Tensor argmin(int... dims) {
        return Reductions.ARGMIN.call(self(), dims, false, null);
    }

    public Tensor argmin(int[] dims, boolean keepDim) {
        return Reductions.ARGMIN.call(self(), dims, keepDim, null);
    }

    /** True where any element is not 0; NaN is not 0. */
    public Tensor any(int... dims) {
        return Reductions.ANY.call(self(), dims, false, null);
    }

    /** True where no element is 0. */
    public Tensor all(int... dims) {
        return Reductions.ALL.call(self(), dims, false, null);
    }

    /** How many elements are not 0, int64. */
    public Tensor countNonzero(int... dims) {
        return Reductions.COUNT_NONZERO.call(self(), dims, false, null);
    }

    /** Σ(x − mean)² / (n − 1). */
    public Tensor var(int... dims) {
        return var(dims, true, false);
    }

    /** Σ(x − mean)² / (n − 1), or / n if not unbiased. Floating dtypes only. */
    public Tensor var(int[] dims, boolean unbiased, boolean keepDim) {
        return Reductions.VAR.call(new ReduceArgs.Var(self(), dims, keepDim, unbiased ? 1 : 0));
    }

    /** The root of {@link #var(int...)}. */
    public Tensor std(int... dims) {
        return std(dims, true, false);
    }

    /** The root of the variance; where that is 0 its gradient is 0. */
    public Tensor std(int[] dims, boolean unbiased, boolean keepDim) {
        return Reductions.STD.call(new ReduceArgs.Var(self(), dims, keepDim, unbiased ? 1 : 0));
    }

    /** The Euclidean norm √Σx²; where it is 0 its gradient is 0. */
    public Tensor norm(int... dims) {
        return Reductions.norm(self(), 2, dims, false);
    }

    /**
     * (Σ|x|^p)^(1/p) for p > 0; p = ∞ gives the largest |x|, p = 0 how many are not 0. The gradient of an element that is 0 is
     * 0, and so are all where the norm is 0. Floating dtypes only.
     */
    public Tensor norm(double p, int[] dims, boolean keepDim) {
        return Reductions.norm(self(), p, dims, keepDim);
    }

    /** Sums of all elements along a dimension up to and with each one. Integers and bools give int64. */
    public Tensor cumsum(int dim) {
        return Reductions.CUMSUM.call(new Reductions.CumSum(self(), dim));
    }

    /** log Σ exp(x), without overflow; −∞ over nothing. Floating dtypes only. */
    public Tensor logSumExp(int... dims) {
        return Softmax.logSumExp(self(), dims, false);
    }

    public Tensor logSumExp(int[] dims, boolean keepDim) {
        return Softmax.logSumExp(self(), dims, keepDim);
    }

    // ---------------------------------------------------------------- softmax

    /** exp(x) / Σ exp(x) along a dimension. Floating dtypes only; small floats compute in float32. */
    public Tensor softmax(int dim) {
        return Softmax.SOFTMAX.call(new Softmax.Along(self(), dim));
    }

    /** x − log Σ exp(x) along a dimension. */
    public Tensor logSoftmax(int dim) {
        return Softmax.LOG_SOFTMAX.call(new Softmax.Along(self(), dim));
    }

    // ---------------------------------------------------------------- products of matrices

    /**
     * Matrix product: [.., M, K]·[.., K, N] → [.., M, N]; leading dimensions broadcast, vectors count as a row on the
     * left and as a column on the right. Both of one dtype, any but bool; transposed operands are not copied.
     *
     * @throws dev.merapi.error.ShapeException if the inner sizes differ
     * @throws dev.merapi.error.DTypeException if the dtypes differ
     */
    public Tensor matmul(Tensor other) {
        return LinearAlgebra.matmul(self(), other);
    }

    /** {@link #matmul} of batches: [B, M, K]·[B, K, N], nothing broadcast. */
    public Tensor bmm(Tensor other) {
        Objects.requireNonNull(other, "other");
        Tensor a = self();
        if (a.rank() != 3 || other.rank() != 3 || a.size(0) != other.size(0)) {
            throw new ShapeException("bmm: takes [B, M, K] and [B, K, N]\n  a: " + a.describe() + "\n  b: "
                    + other.describe() + "\n  fix: matmul takes other ranks, and broadcasts.");
        }
        return LinearAlgebra.matmul(a, other);
    }

    /** x·weightᵀ + bias for x [.., in], weight [out, in], bias [out] or null → [.., out]. */
    public Tensor linear(Tensor weight, @Nullable Tensor bias) {
        return LinearAlgebra.linear(self(), weight, bias);
    }
}
