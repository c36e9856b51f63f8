// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.random.DrawLog;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Normalisation of groups of channels, by the kernels of layer norm, and across neighbouring channels. */
public final class ChannelNorms {
    private ChannelNorms() {}

    /**
     * (x − mean) / √(variance + eps) · weight + bias, where mean and (biased) variance are those of a group of channels of one
     * sample. Gradient: x, weight, bias, to any order.
     *
     * @param x [N, C, ..], floating
     * @param groups how many groups of C / groups channels
     * @param weight [C], or null for ones
     * @param bias [C], or null for zeros
     * @param eps added to the variance, not negative
     * @return of the shape and dtype of x
     * @throws ShapeException if shapes do not fit
     */
    public static Tensor groupNorm(Tensor x, long groups, @Nullable Tensor weight, @Nullable Tensor bias, double eps) {
        return normal("groupNorm", x, groups, weight, bias, eps);
    }

    /**
     * {@link #groupNorm} of each channel by itself; or, if not {@code useInputStats}, by running values, which are else moved
     * towards the mean of those of the samples.
     *
     * @param x [N, C, ..] with at least one dimension after the channels
     * @param runningMean [C], or null together with {@code runningVariance}
     * @param runningVariance [C], of which the mean of the samples' unbiased variances becomes a part; or null
     * @param weight [C], or null for ones
     * @param bias [C], or null for zeros
     * @param useInputStats whether statistics are those of x; if not, the running ones are needed
     * @param momentum how far the running values move
     * @param eps added to the variance, not negative
     * @return of the shape of x
     * @throws ShapeException if shapes do not fit, a channel of a sample has less than two elements, or running
     *     values are needed and absent
     */
    public static Tensor instanceNorm(
            Tensor x,
            @Nullable Tensor runningMean,
            @Nullable Tensor runningVariance,
            @Nullable Tensor weight,
            @Nullable Tensor bias,
            boolean useInputStats,
            double momentum,
            double eps) {
        Objects.requireNonNull(x, "x");
        if (!useInputStats) {
            return Composition.of(
                    "instanceNorm",
                    () -> BatchNorm.batchNorm(x, weight, bias, runningMean, runningVariance, false, momentum, eps));
        }
        Form.requireNumber("instanceNorm", "momentum", momentum, 0, 1);
        if (x.rank() < 3) {
            throw new ShapeException(
                    "instanceNorm: needs x [N, C, ..] of at least three dimensions, but this is " + x.describe());
        }
        if ((runningMean == null) != (runningVariance == null)) {
            throw new ShapeException("instanceNorm: runningMean comes with runningVariance");
        }
        long count = x.numel() / Math.max(1, x.size(0) * x.size(1));
        if (count < 2) {
            throw new ShapeException(
                    "instanceNorm: needs at least 2 elements a channel, but has " + count + "\n  x: " + x.describe());
        }
        Tensor y = normal("instanceNorm", x, x.size(1), weight, bias, eps);
        if (runningMean != null && runningVariance != null && !DrawLog.isReplaying()) {
            Context context = Context.current();
            boolean grad = context.setGradEnabled(false);
            try {
                Tensor flat = x.detach().reshape(x.size(0), x.size(1), count);
                int[] last = {2};
                runningMean.lerp_(flat.mean(last, false).mean(0).to(runningMean.dtype()), momentum);
                runningVariance.lerp_(flat.var(last, true, false).mean(0).to(runningVariance.dtype()), momentum);
            } finally {
                context.setGradEnabled(grad);
            }
        }
        return y;
    }

    private static Tensor normal(
            String op, Tensor x, long groups, @Nullable Tensor weight, @Nullable Tensor bias, double eps) {
        Objects.requireNonNull(x, "x");
        Softmax.requireFloating(op, x);
        Form.requireNotNegative(op, "eps", eps);
        if (x.rank() < 2 || groups < 1 || x.size(1) % groups != 0) {
            throw new ShapeException(
                    Message.of(op + ": the channels of x [N, C, ..] are no multiple of " + groups + " groups")
                            .fact("x", x.describe())
                            .fix("a number of groups that divides the second size."));
        }
        requireChannels(op, x, weight, "weight");
        requireChannels(op, x, bias, "bias");
        Tensor y = x;
        if (x.numel() > 0) {
            Tensor rows = x.reshape(x.size(0) * groups, x.numel() / (x.size(0) * groups));
            y = Normalization.LAYER_NORM
                    .call(new Normalization.LayerNorm(rows, null, null, 1, eps))
                    .y()
                    .reshape(x.shape().toArray());
        }
        if (weight != null && bias != null) {
            return Arithmetic.FMA.call(List.of(y, beside(x, weight), beside(x, bias)), List.of());
        }
        y = weight == null ? y : y.mul(beside(x, weight));
        return bias == null ? y == x ? x.copy() : y : y.add(beside(x, bias));
    }

    /**
     * x / (k + alpha · mean of x² over neighbouring channels)^beta. Gradient: x.
     *
     * @param x [N, C, ..] with at least one dimension after the channels, floating
     * @param size how many neighbours, of which one more stands before than behind if it is even; zeros beyond the
     *     first and last
     * @param alpha factor of the mean of squares; 1e-4 in PyTorch
     * @param beta exponent; 0.75 in PyTorch
     * @param k added to the mean, so that nothing is divided by 0; 1 in PyTorch
     * @return of the shape and dtype of x
     * @throws ShapeException if x has less than three dimensions, or the size is less than 1
     */
    public static Tensor localResponseNorm(Tensor x, long size, double alpha, double beta, double k) {
        Objects.requireNonNull(x, "x");
        Softmax.requireFloating("localResponseNorm", x);
        if (x.rank() < 3 || size < 1) {
            throw new ShapeException(
                    "localResponseNorm: needs x [N, C, ..] of at least three dimensions and a size of at least 1, not "
                            + size + "\n  x: " + x.describe());
        }
        if (x.numel() == 0) {
            return x.copy();
        }
        Tensor squares = x.square().reshape(x.size(0), 1, x.size(1), x.numel() / (x.size(0) * x.size(1)));
        Tensor padded = squares.pad(0, 0, 0, size / 2, (size - 1) / 2);
        Tensor means = Pooling.AVG_POOL2D.call(
                new Pooling.AvgPool2d(padded, new long[] {size, 1}, new long[] {1, 1}, new long[] {0, 0}, true));
        return x.div(means.reshape(x.shape().toArray()).mul(alpha).add(k).pow(beta));
    }

    private static Tensor beside(Tensor x, Tensor parameter) {
        long[] shape = new long[x.rank() - 1];
        Arrays.fill(shape, 1);
        shape[0] = parameter.size(0);
        return parameter.reshape(shape);
    }

    private static void requireChannels(String op, Tensor x, @Nullable Tensor t, String name) {
        if (t == null) {
            return;
        }
        LinearAlgebra.requireSame(op, x, "x", t, name);
        if (t.rank() != 1 || t.size(0) != x.size(1)) {
            throw new ShapeException(
                    op + ": " + name + " must be [" + x.size(1) + "], one for each channel, but is " + t.describe());
        }
    }
}
