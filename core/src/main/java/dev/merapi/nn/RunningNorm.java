// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.BatchNorm;
import dev.merapi.ops.ChannelNorms;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What batch norm and instance norm have in common: (x − mean) / √(variance + eps) · weight + bias. In training, mean and
 * variance are those of the input, and the running ones move towards them, once a forward call, also where that is computed
 * again for backward (an empty batch has none, and moves nothing); in evaluation the running ones are used, where there are any. Buffers have PyTorch's names:
 * {@code running_mean}, {@code running_var} and {@code num_batches_tracked}, an int64 that only batch norm counts up.
 */
public abstract sealed class RunningNorm extends Layer
        permits BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d {
    private final boolean perSample;
    private final int fewest;
    private final int most;
    private final Options options;
    private final @Nullable Parameter weight;
    private final @Nullable Parameter bias;
    private final @Nullable Parameter mean;
    private final @Nullable Parameter variance;
    private final @Nullable Parameter count;

    /**
     * What there is, and how far it moves.
     *
     * @param eps added to the variance, not negative
     * @param momentum how far the running values move, from 0 to 1; null where they are the mean of all that was seen
     * @param affine whether there are weight and bias
     * @param tracks whether there are running values
     */
    public record Options(double eps, @Nullable Double momentum, boolean affine, boolean tracks) {
        /**
         * With another eps.
         *
         * @param added not negative
         * @return the same options but for that
         */
        public Options eps(double added) {
            return new Options(added, momentum, affine, tracks);
        }

        /**
         * How far running values move.
         *
         * @param part from 0 to 1
         * @return the same options but for that
         */
        public Options momentum(double part) {
            return new Options(eps, part, affine, tracks);
        }

        /**
         * With running values that are the mean of all that was seen: PyTorch's {@code momentum=None}. For batch norm; a step
         * looks at the count on its device, and so cannot be captured.
         *
         * @return the same options but for that
         */
        public Options cumulative() {
            return new Options(eps, null, affine, tracks);
        }

        /**
         * Without weight and bias.
         *
         * @return the same options but for that
         */
        public Options noAffine() {
            return new Options(eps, momentum, false, tracks);
        }

        /**
         * Without running values: those of the input are used in evaluation, too.
         *
         * @return the same options but for that
         */
        public Options noRunningStatistics() {
            return new Options(eps, momentum, affine, false);
        }
    }

    /** {@return eps 1e-5, momentum 0.1, weight and bias, running values} */
    public static Options options() {
        return new Options(1e-5, 0.1, true, true);
    }

    RunningNorm(boolean perSample, int fewest, int most, long channels, Options options) {
        this.perSample = perSample;
        this.fewest = fewest;
        this.most = most;
        this.options = Objects.requireNonNull(options, "options");
        Init.atLeast(0, kind(), "channels", channels);
        Init.notNegative(kind(), "eps", options.eps());
        Double momentum = options.momentum();
        if (momentum == null ? perSample && options.tracks() : !(momentum >= 0 && momentum <= 1)) {
            throw new IllegalArgumentException(kind() + ": momentum " + momentum
                    + (momentum == null ? " is for batch norm, which counts its batches" : " does not lie in [0, 1]"));
        }
        weight = options.affine() ? parameter("weight", Tensor.ones(channels)) : null;
        bias = options.affine() ? parameter("bias", Tensor.zeros(channels)) : null;
        mean = options.tracks() ? buffer("running_mean", Tensor.zeros(channels)) : null;
        variance = options.tracks() ? buffer("running_var", Tensor.ones(channels)) : null;
        count = options.tracks() ? buffer("num_batches_tracked", Tensor.scalar(0L)) : null;
    }

    @Override
    protected Tensor compute(Tensor x) {
        Objects.requireNonNull(x, "x");
        if (x.rank() < fewest || x.rank() > most) {
            throw new ShapeException(Message.of(
                            kind(),
                            "x must have " + fewest + (most > fewest ? " or " + most : "") + " dimensions, but is "
                                    + x.describe())
                    .argument("x"));
        }
        Tensor w = Parameter.of(weight);
        Tensor b = Parameter.of(bias);
        boolean ofInput = isTraining() || mean == null;
        if (ofInput && x.numel() == 0) { // no statistics; what is given instead of them changes nothing
            Tensor any = Tensor.ones(Shape.of(x.size(1)), x.dtype().computeType(), x.device());
            return BatchNorm.batchNorm(x, w, b, any, any, false, 0, options.eps());
        }
        boolean counts = isTraining() && count != null && !perSample && !Autograd.isRecomputing();
        double part = part(counts ? count : null);
        Tensor m = Parameter.of(mean);
        Tensor v = Parameter.of(variance);
        Tensor y = perSample
                ? ChannelNorms.instanceNorm(x, m, v, w, b, ofInput, part, options.eps())
                : BatchNorm.batchNorm(x, w, b, m, v, ofInput, part, options.eps());
        if (counts && count != null) {
            try (Autograd.Mode mode = Autograd.noGrad()) {
                count.tensor().add_(1);
            }
        }
        return y;
    }

    private double part(@Nullable Parameter counting) {
        Double momentum = options.momentum();
        if (momentum != null) {
            return momentum;
        }
        return counting == null ? 0 : 1 / (counting.tensor().to(DType.FLOAT64).item() + 1);
    }
}
