// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * Softmax, its logarithm, and the logarithm of a sum of exponentials. All take the largest element out first, so that
 * nothing overflows; small floats compute in float32.
 */
public final class Softmax {
    private Softmax() {}

    /**
     * What softmax and its like take.
     *
     * @param x floating
     * @param dim along which they are taken; negative ones count from the end
     */
    public record Along(Tensor x, int dim) {}

    /**
     * What the gradients of {@link #SOFTMAX} and {@link #LOG_SOFTMAX} are made of.
     *
     * @param grad the gradient of y
     * @param y the result of the forward op
     * @param dim along which it was taken
     */
    public record BackwardArgs(Tensor grad, Tensor y, int dim) {}

    /** What the formulas of both keep. */
    record Saved(Tensor y, int dim) {}

    // Note [Backward ops]
    // The backward of a fused op is an op of its own: a kernel per device beside `compose`, the same written with
    // differentiable ops. When a graph is created, autograd finds no formula for it and runs `compose` instead, so
    // second
    // derivatives come out right; otherwise the kernel runs. `compose` never uses internal results of the forward (they
    // carry no graph), but computes them again.

    /** (grad − Σ grad·y)·y, the sum along the dimension. */
    public static final Op<BackwardArgs, Tensor> SOFTMAX_BACKWARD = Op.define(
                    "merapi::softmax_backward", BackwardArgs.class, Tensor.class)
            .shape(a -> {
                requireFloating("softmax_backward", a.y());
                Form.requireLike("softmax_backward", "grad", a.grad(), a.y());
                dim(a.y(), a.dim());
                return Tensor.meta(a.y());
            })
            .compose(a -> {
                Tensor inner = a.grad().mul(a.y()).sum(new int[] {a.dim()}, true);
                return a.grad().sub(inner).mul(a.y());
            })
            .register();

    /** exp(x) / Σ exp(x) along a dimension; floating dtypes, result of the same shape and dtype. */
    public static final Op<Along, Tensor> SOFTMAX = Op.define("merapi::softmax", Along.class, Tensor.class)
            .shape(a -> like("softmax", a))
            .autograd(
                    (a, out) -> new Saved(out, a.dim()),
                    (context, s, g) -> Grads.of("x", SOFTMAX_BACKWARD.call(new BackwardArgs(g, s.y, s.dim))))
            .autocast(CastPolicy.FLOAT32)
            .register();

    /** grad − eʸ·Σ grad, the sum along the dimension. */
    public static final Op<BackwardArgs, Tensor> LOG_SOFTMAX_BACKWARD = Op.define(
                    "merapi::log_softmax_backward", BackwardArgs.class, Tensor.class)
            .shape(a -> {
                requireFloating("log_softmax_backward", a.y());
                Form.requireLike("log_softmax_backward", "grad", a.grad(), a.y());
                dim(a.y(), a.dim());
                return Tensor.meta(a.y());
            })
            .compose(a -> a.grad().sub(a.y().exp().mul(a.grad().sum(new int[] {a.dim()}, true))))
            .register();

    /** x − log Σ exp(x) along a dimension. */
    public static final Op<Along, Tensor> LOG_SOFTMAX = Op.define("merapi::log_softmax", Along.class, Tensor.class)
            .shape(a -> like("log_softmax", a))
            .autograd(
                    (a, out) -> new Saved(out, a.dim()),
                    (context, s, g) -> Grads.of("x", LOG_SOFTMAX_BACKWARD.call(new BackwardArgs(g, s.y, s.dim))))
            .autocast(CastPolicy.FLOAT32)
            .register();

    /**
     * log Σ exp(x) along one dimension, which goes; −∞ over nothing and over nothing but −∞. The gradient is the softmax: NaN
     * where all are −∞.
     */
    public static final Op<Along, Tensor> LOG_SUM_EXP = Op.define("merapi::logsumexp", Along.class, Tensor.class)
            .shape(a -> {
                Tensor t = like("logsumexp", a);
                return Tensor.meta(t, t.shape().without(a.dim()));
            })
            .autograd((a, out) -> a, (context, a, g) -> {
                if (a.x().rank() == 0) {
                    return Grads.of("x", g);
                }
                // By the softmax, not by exp(x − result): the result may be rounded to 8 bits.
                return Grads.of("x", g.unsqueeze(dim(a.x(), a.dim())).mul(SOFTMAX.call(a)));
            })
            .autocast(CastPolicy.FLOAT32)
            .register();

    private static Tensor like(String op, Along a) {
        a.x().shape().normalize(a.dim());
        requireFloating(op, a.x());
        return Tensor.meta(a.x());
    }

    static void requireFloating(String op, Tensor x) {
        if (!x.dtype().isFloating()) {
            throw new DTypeException(op + ": needs a floating dtype, but this is " + x.describe()
                    + "\n  fix: convert with to(DType.FLOAT32).");
        }
    }

    private static int dim(Tensor x, int dim) {
        return x.shape().normalize(dim);
    }

    /**
     * log Σ exp(x) over any dimensions, all if none is named.
     *
     * @param x floating
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @return in the dtype of x; −∞ over nothing, and over nothing but −∞
     * @throws DTypeException if x is not floating
     * @throws dev.merapi.error.ShapeException if a dimension is not there, or twice
     */
    public static Tensor logSumExp(Tensor x, int[] dims, boolean keepDim) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(dims, "dims");
        x.requireOpen("merapi::logsumexp", "x");
        requireFloating("merapi::logsumexp", x);
        Shape shape = x.shape();
        boolean[] mask = ReduceArgs.mask("merapi::logsumexp", shape, dims);
        int[] order = new int[mask.length];
        int n = 0;
        for (int d = 0; d < mask.length; d++) {
            if (!mask[d]) {
                order[n++] = d;
            }
        }
        int kept = n;
        for (int d = 0; d < mask.length; d++) {
            if (mask[d]) {
                order[n++] = d;
            }
        }
        long[] sizes = new long[kept + 1];
        for (int i = 0; i < kept; i++) {
            sizes[i] = shape.size(order[i]);
        }
        sizes[kept] = ReduceArgs.count(shape, mask);
        Tensor rows = mask.length == 0 ? x : x.permute(order).reshape(sizes);
        Tensor out = LOG_SUM_EXP.call(new Along(rows, -1));
        return keepDim ? out.reshape(ReduceArgs.reduced(shape, mask, true).toArray()) : out;
    }
}
