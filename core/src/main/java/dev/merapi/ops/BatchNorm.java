// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.random.DrawLog;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Normalisation of each channel over the batch: two reductions and one pointwise op, whose gradients are derived. */
public final class BatchNorm {
    private static final int CHANNEL = 1;

    private BatchNorm() {}

    private static final PointwiseOp NORMALIZE = Pointwise.define(
            "merapi::batch_norm_normalize",
            3,
            List.of(Param.scalar("eps")),
            a -> normal(a.get(0), a.get(1), a.get(2), a.get(3)));

    private static final PointwiseOp NORMALIZE_AFFINE = Pointwise.define(
            "merapi::batch_norm_affine",
            5,
            1,
            a -> normal(a.get(0), a.get(1), a.get(2), a.get(5)).mul(a.get(3)).add(a.get(4)));

    private static Expr normal(Expr x, Expr mean, Expr variance, Expr eps) {
        return x.sub(mean).mul(variance.add(eps).rsqrt());
    }

    /**
     * (x − mean) / √(variance + eps) · weight + bias for each channel of x [N, C, ..]. In training mean and (biased)
     * variance are those of x, and the running ones move towards them (the variance unbiased), once a forward call, also
     * where that is computed again for backward; else the running ones are used. Gradient: x, weight, bias; in training through mean and variance too.
     *
     * <p>Parameters and running values have the dtype of x, or are float32 beside a 16-bit x, and then so is the result.
     *
     * @param x [N, C, ..], floating
     * @param weight [C]; null, together with {@code bias}, for none
     * @param bias [C]; null, together with {@code weight}, for none
     * @param runningMean [C], written in training; may be null in training only, as {@code runningVariance}
     * @param runningVariance [C], written in training; may be null in training only, as {@code runningMean}
     * @param training whether the statistics are those of x
     * @param momentum how far the running values move
     * @param eps added to the variance, not negative
     * @return of the shape of x
     * @throws ShapeException if a parameter is not [C], or training has less than two elements a channel
     */
    public static Tensor batchNorm(
            Tensor x,
            @Nullable Tensor weight,
            @Nullable Tensor bias,
            @Nullable Tensor runningMean,
            @Nullable Tensor runningVariance,
            boolean training,
            double momentum,
            double eps) {
        Objects.requireNonNull(x, "x");
        Softmax.requireFloating("batchNorm", x);
        Form.requireNumber("batchNorm", "momentum", momentum, 0, 1);
        Form.requireNotNegative("batchNorm", "eps", eps);
        if (x.rank() < 2) {
            throw new ShapeException("batchNorm: needs x [N, C, ..], but this is " + x.describe());
        }
        requireChannels(x, weight, "weight");
        requireChannels(x, bias, "bias");
        requireChannels(x, runningMean, "runningMean");
        requireChannels(x, runningVariance, "runningVariance");
        if ((weight == null) != (bias == null) || (runningMean == null) != (runningVariance == null)) {
            throw new ShapeException("batchNorm: weight comes with bias, and runningMean with runningVariance");
        }
        Tensor mean;
        Tensor variance;
        if (training) {
            long count = x.numel() / Math.max(1, x.size(CHANNEL));
            if (count < 2) {
                throw new ShapeException("batchNorm: training needs at least 2 elements a channel, but has " + count
                        + "\n  x: " + x.describe() + "\n  fix: a larger batch, or evaluation mode.");
            }
            int[] others = others(x.rank());
            mean = x.mean(others, true);
            variance = x.var(others, false, true);
            if (runningMean != null && runningVariance != null && !DrawLog.isReplaying()) {
                long c = x.size(CHANNEL);
                Context context = Context.current();
                boolean grad = context.setGradEnabled(false);
                try {
                    runningMean.lerp_(mean.detach().view(c), momentum);
                    runningVariance.lerp_(variance.detach().view(c).mul((double) count / (count - 1)), momentum);
                } finally {
                    context.setGradEnabled(grad);
                }
            }
        } else if (runningMean != null && runningVariance != null) {
            mean = channels(runningMean, x.rank());
            variance = channels(runningVariance, x.rank());
        } else {
            throw new ShapeException("batchNorm: without training there must be running statistics");
        }
        return weight == null || bias == null
                ? NORMALIZE.call(List.of(x, mean, variance), List.of(eps))
                : NORMALIZE_AFFINE.call(
                        List.of(x, mean, variance, channels(weight, x.rank()), channels(bias, x.rank())), List.of(eps));
    }

    private static int[] others(int rank) {
        int[] dims = new int[rank - 1];
        for (int i = 1; i < dims.length; i++) {
            dims[i] = i + 1;
        }
        return dims;
    }

    /** [C] as [1, C, 1, ..]. */
    private static Tensor channels(Tensor t, int rank) {
        long[] sizes = new long[rank];
        java.util.Arrays.fill(sizes, 1);
        sizes[CHANNEL] = t.size(0);
        return t.reshape(sizes);
    }

    private static void requireChannels(Tensor x, @Nullable Tensor t, String name) {
        if (t == null) {
            return;
        }
        if (t.dtype() != x.dtype().computeType()) {
            LinearAlgebra.requireSame("batchNorm", x, "x", t, name);
        }
        if (t.rank() != 1 || t.size(0) != x.size(CHANNEL)) {
            throw new ShapeException(
                    Message.of("batchNorm: " + name + " must be [" + x.size(CHANNEL) + "], one for each channel")
                            .fact("x", x.describe())
                            .fact(name, t.describe()));
        }
    }
}
