// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.NamedFunction;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * Reductions over any set of dimensions, and running sums. Each is an instance of {@link ReductionOp}, as people's own
 * are; the variance takes a correction besides.
 */
public final class Reductions {
    private Reductions() {}

    /**
     * The sum; 0 over nothing. Integers and bools give int64 unless a dtype is asked for; under autocast in float32.
     */
    public static final ReductionOp SUM =
            ReductionOp.define("merapi::sum", x -> x, Combine.SUM).autocast(CastPolicy.FLOAT32);
    /** NaNs count as 0. */
    public static final ReductionOp NANSUM = ReductionOp.define(
                    "merapi::nansum", x -> x.ne(x).select(Expr.constant(0), x), Combine.SUM)
            .autocast(CastPolicy.FLOAT32);
    /** How many are numbers. */
    public static final ReductionOp COUNT_NUMBERS =
            ReductionOp.define("merapi::count_numbers", x -> x.eq(x).cast(DType.INT64), Combine.SUM);

    /** The mean; NaN over nothing. Floating, or with a floating dtype asked for; under autocast in float32. */
    public static final ReductionOp MEAN =
            ReductionOp.define("merapi::mean", x -> x, Combine.MEAN).autocast(CastPolicy.FLOAT32);
    /**
     * The product; 1 over nothing. Integers and bools give int64 unless a dtype is asked for; under autocast in
     * float32.
     */
    public static final ReductionOp PROD =
            ReductionOp.define("merapi::prod", x -> x, Combine.PROD).autocast(CastPolicy.FLOAT32);
    /** Ties share the gradient evenly; if there are NaNs, they do. */
    public static final ReductionOp AMIN = ReductionOp.define("merapi::amin", x -> x, Combine.MIN);
    /** Ties share the gradient evenly; if there are NaNs, they do. */
    public static final ReductionOp AMAX = ReductionOp.define("merapi::amax", x -> x, Combine.MAX);

    /**
     * Where the smallest element stands, int64: the first of equals, in row-major order of what is reduced; the first
     * NaN wins.
     */
    public static final ReductionOp ARGMIN = ReductionOp.define("merapi::argmin", x -> x, Combine.ARGMIN);
    /**
     * Where the largest element stands, int64: the first of equals, in row-major order of what is reduced; the first
     * NaN wins.
     */
    public static final ReductionOp ARGMAX = ReductionOp.define("merapi::argmax", x -> x, Combine.ARGMAX);
    /** Whether one element is not 0, as bool; false over nothing. */
    public static final ReductionOp ANY = ReductionOp.define("merapi::any", x -> x, Combine.ANY);
    /** Whether no element is 0, as bool; true over nothing. */
    public static final ReductionOp ALL = ReductionOp.define("merapi::all", x -> x, Combine.ALL);
    /** How many are not 0. */
    public static final ReductionOp COUNT_NONZERO =
            ReductionOp.define("merapi::count_nonzero", x -> x.cast(DType.BOOL).cast(DType.INT64), Combine.SUM);

    /** The 1-norm Σ|x|; under autocast in float32. */
    public static final ReductionOp SUM_ABS =
            ReductionOp.define("merapi::sum_abs", Expr::abs, Combine.SUM).autocast(CastPolicy.FLOAT32);
    /** Σx²; under autocast in float32. */
    public static final ReductionOp SUM_SQUARES =
            ReductionOp.define("merapi::sum_squares", Expr::square, Combine.SUM).autocast(CastPolicy.FLOAT32);
    /** The largest |x|, the ∞-norm; an error over nothing. */
    public static final ReductionOp MAX_ABS = ReductionOp.define("merapi::max_abs", Expr::abs, Combine.MAX);
    /** xᵉ for x ≥ 0, whose slope at 0 is 0 instead of infinite: for norms, whose gradient at 0 is 0. */
    private static final NamedFunction POWER_OR_ZERO =
            NamedFunction.define("power_or_zero", 2, a -> a.get(0).pow(a.get(1)), (a, y, g) -> {
                Expr x = a.get(0);
                Expr e = a.get(1);
                Expr slope = e.mul(power(x, e.sub(1)));
                return Arrays.asList(x.eq(0).select(Expr.constant(0.0), g.mul(slope)), null);
            });

    private static Expr power(Expr x, Expr exponent) {
        return POWER_OR_ZERO.call(x, exponent);
    }

    /** The sum of |x|ᵖ, for the scalar p; under autocast in float32. The gradient of an element that is 0 is 0. */
    public static final ReductionOp SUM_POWERS = ReductionOp.define(
                    "merapi::sum_powers", 1, 1, a -> power(a.get(0).abs(), a.get(1)), Combine.SUM)
            .autocast(CastPolicy.FLOAT32);

    /** Sum over x where the first operand equals the second, and 0 elsewhere: one chosen element a group. */
    static final ReductionOp PICK = ReductionOp.define(
            "merapi::pick", 3, 0, a -> a.get(0).eq(a.get(1)).select(a.get(2), Expr.constant(0)), Combine.SUM);

    // ---------------------------------------------------------------- variance

    private static final ReduceCode VAR_CODE = new ReduceCode("merapi::var", Expr.input(0), 1, Combine.VAR);

    private static final PointwiseOp VAR_BACKWARD = Pointwise.define(
            "merapi::var_backward",
            3,
            1,
            a -> a.get(0).mul(a.get(1).sub(a.get(2))).mul(a.get(3)));

    /** The mean of the squared distances from the mean; see {@link Combine#VAR}. */
    public static final Op<ReduceArgs.Var, Tensor> VAR = Op.define("merapi::var", ReduceArgs.Var.class, Tensor.class)
            .shape(a -> {
                Form.requireNotNegative("var", "correction", a.correction());
                return ReductionOp.meta("merapi::var", VAR_CODE, a);
            })
            .stridesOk()
            .code(VAR_CODE)
            .defaultValue("correction", 1.0)
            .autograd((a, out) -> a, (context, a, g) -> {
                Shape shape = a.x().shape();
                boolean[] mask = ReduceArgs.mask("merapi::var", shape, a.dims());
                Tensor mean = MEAN.call(a.x(), ReductionOp.reducedDims(mask), true, null);
                double scale = 2 / Math.max(0, ReduceArgs.count(shape, mask) - a.correction());
                return Grads.of(
                        "x", VAR_BACKWARD.call(List.of(ReductionOp.keep(g, shape, mask), a.x(), mean), List.of(scale)));
            })
            .autocast(CastPolicy.FLOAT32)
            .register();

    /** sqrt, whose gradient at 0 is 0 instead of infinite: for norms and standard deviations. */
    private static Expr rootOrZero(Expr x) {
        return x.eq(0).select(Expr.constant(0.0), x.sqrt());
    }

    static final PointwiseOp SQRT_OR_ZERO = Pointwise.define("merapi::sqrt_or_zero", Reductions::rootOrZero);

    private static final ReduceCode STD_CODE =
            new ReduceCode("merapi::std", Expr.input(0), 1, Combine.VAR, rootOrZero(Expr.input(0)));

    /** The root of {@link #VAR}; where that is 0 its gradient is 0. */
    public static final Op<ReduceArgs.Var, Tensor> STD = Op.define("merapi::std", ReduceArgs.Var.class, Tensor.class)
            .shape(a -> {
                Form.requireNotNegative("std", "correction", a.correction());
                return ReductionOp.meta("merapi::std", STD_CODE, a);
            })
            .compose(a -> {
                Tensor x = a.x().to(a.x().dtype().computeType());
                Tensor variance = VAR.call(new ReduceArgs.Var(x, a.dims(), a.keepDim(), a.correction()));
                return SQRT_OR_ZERO.call(variance).to(a.x().dtype());
            })
            .stridesOk()
            .code(STD_CODE)
            .defaultValue("correction", 1.0)
            .autocast(CastPolicy.FLOAT32)
            .register();

    /** The Euclidean norm; where it is 0 its gradient is 0. */
    public static final ReductionOp NORM = ReductionOp.define(
                    "merapi::norm", Expr::square, Combine.SUM, Reductions::rootOrZero)
            .autocast(CastPolicy.FLOAT32);

    /** (Σ|x|^p)^(1/p); the gradient of elements that are 0 is 0, and so where the norm is. */
    public static final ReductionOp POWER_NORM = ReductionOp.define(
                    "merapi::power_norm",
                    1,
                    1,
                    a -> power(a.get(0).abs(), a.get(1)),
                    Combine.SUM,
                    a -> power(a.get(0), Expr.constant(1.0).div(a.get(1))))
            .autocast(CastPolicy.FLOAT32);

    /**
     * What {@code varMean} and {@code stdMean} of a tensor give.
     *
     * @param spread the variance, or the standard deviation
     * @param mean of the same shape
     */
    public record Spread(Tensor spread, Tensor mean) {}

    /**
     * What {@code aminmax} of a tensor gives.
     *
     * @param min the smallest elements
     * @param max the largest, of the same shape
     */
    public record MinMax(Tensor min, Tensor max) {}

    /**
     * The mean of those that are numbers; NaN if none is.
     *
     * @param x floating
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @return the means, in the dtype of x
     * @throws dev.merapi.error.DTypeException if x is not floating
     */
    public static Tensor nanmean(Tensor x, int[] dims, boolean keepDim) {
        Objects.requireNonNull(x, "x");
        Softmax.requireFloating("nanmean", x);
        DType wide = x.dtype().computeType();
        Tensor count = COUNT_NUMBERS.call(x, dims, keepDim, null);
        return NANSUM.call(x, dims, keepDim, wide).div(count).to(x.dtype());
    }

    // ---------------------------------------------------------------- values with indices

    /**
     * Extreme values along a dimension, and where each stands.
     *
     * @param values in the dtype of the tensor
     * @param indices int64, of the same shape: where along the dimension each stands
     */
    public record Extremes(Tensor values, Tensor indices) {}

    /**
     * The first largest (or smallest) along one dimension; the gradient goes to that element alone.
     *
     * @param x of any dtype; not empty along {@code dim}
     * @param dim to be reduced, a negative one counted from the end
     * @param keepDim whether it stays, with size 1
     * @param largest whether the largest are wanted, else the smallest
     * @return both, without the dimension or with size 1 in it; NaN wins
     * @throws ShapeException if there is nothing along the dimension
     */
    public static Extremes extremes(Tensor x, int dim, boolean keepDim, boolean largest) {
        Objects.requireNonNull(x, "x");
        ReductionOp arg = largest ? ARGMAX : ARGMIN;
        int d = x.shape().normalize(largest ? "max" : "min", dim);
        if (x.rank() == 0) {
            return new Extremes(x.copy(), arg.call(x));
        }
        Tensor indices = arg.call(x, new int[] {d}, true, null);
        long[] along = new long[x.rank()];
        java.util.Arrays.fill(along, 1);
        along[d] = x.size(d);
        Tensor positions = count(x, x.size(d)).view(along);
        boolean bool = x.dtype() == DType.BOOL;
        Tensor values = PICK.call(
                List.of(positions, indices, x), List.of(), new int[] {d}, keepDim, bool ? DType.UINT8 : x.dtype());
        return new Extremes(bool ? values.ne(0) : values, keepDim ? indices : indices.squeeze(d));
    }

    /** 0 … n − 1, int64, where {@code like} is; without memory if that has none. */
    static Tensor count(Tensor like, long n) {
        return like.isMeta()
                ? Tensor.meta(Shape.of(n), DType.INT64, like.device())
                : Tensor.arange(0, n, 1, DType.INT64, like.device());
    }

    // ---------------------------------------------------------------- running sums

    /**
     * What {@link #CUMSUM} takes.
     *
     * @param x of any dtype
     * @param dim along which the sums run; negative ones count from the end
     */
    public record CumSum(Tensor x, int dim) {}

    /** Sums of all elements up to and with each one. Integers and bools give int64. */
    public static final Op<CumSum, Tensor> CUMSUM = Op.define("merapi::cumsum", CumSum.class, Tensor.class)
            .shape(a -> {
                a.x().shape().normalize(a.dim());
                return Tensor.meta(a.x(), a.x().dtype().isFloating() ? a.x().dtype() : DType.INT64);
            })
            .autograd(
                    (a, out) -> a.dim(),
                    // The sum of all gradients from here to the end.
                    (context, dim, g) -> Grads.of("x", g.flip(dim).cumsum(dim).flip(dim)))
            .linear("x")
            .autocast(CastPolicy.FLOAT32)
            .register();

    // ---------------------------------------------------------------- compositions

    /**
     * The p-norm over some dimensions: (Σ|x|^p)^(1/p); p = ∞ gives the largest |x|, p = 0 how many are not 0.
     *
     * <p>The gradient is 0 for an element that is 0, and so for all where the norm is 0; largest elements share it evenly.
     * Gradients of these gradients are 0 there too, also where the slope has none.
     *
     * @param x floating
     * @param p from 0 to ∞
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @return the norms, in the dtype of x
     * @throws dev.merapi.error.DTypeException if x is not floating
     * @throws ShapeException if p is negative or NaN
     */
    public static Tensor norm(Tensor x, double p, int[] dims, boolean keepDim) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(dims, "dims");
        if (!x.dtype().isFloating()) {
            throw new dev.merapi.error.DTypeException("norm: needs a floating dtype, but this is " + x.describe()
                    + "\n  fix: convert with to(DType.FLOAT32).");
        }
        if (!(p >= 0)) {
            throw new ShapeException(
                    "norm: the order " + p + " is negative\n  fix: 1, 2 or infinity are the usual ones.");
        }
        if (p == 0) {
            return COUNT_NONZERO.call(x, dims, keepDim, null).to(x.dtype());
        }
        if (p == 2) {
            return NORM.call(x, dims, keepDim, null);
        }
        if (p == 1) {
            return SUM_ABS.call(x, dims, keepDim, null);
        }
        if (p == Double.POSITIVE_INFINITY) {
            return MAX_ABS.call(x, dims, keepDim, null);
        }
        return POWER_NORM.call(List.of(x), List.of(p), dims, keepDim, null);
    }
}
