// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.ChannelNorms;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Normalises groups of channels of each sample to mean 0 and variance 1, then scales and shifts: [N, C, ..] → the same. */
public final class GroupNorm extends Layer {
    private final long groups;
    private final double eps;
    private final @Nullable Parameter weight;
    private final @Nullable Parameter bias;

    /**
     * With eps 1e-5, weight and bias.
     *
     * @param groups how many
     * @param channels C, a multiple of that
     */
    public GroupNorm(long groups, long channels) {
        this(groups, channels, 1e-5, true);
    }

    /**
     * Begins with weight 1 and bias 0, if it has them.
     *
     * @param groups how many
     * @param channels C, a multiple of that
     * @param eps added to the variance, not negative
     * @param affine whether there are weight and bias
     * @throws ShapeException if the groups do not divide the channels
     */
    public GroupNorm(long groups, long channels, double eps, boolean affine) {
        this.groups = Init.atLeast(1, "GroupNorm", "groups", groups);
        this.eps = Init.notNegative("GroupNorm", "eps", eps);
        if (Init.atLeast(0, "GroupNorm", "channels", channels) % groups != 0) {
            throw new ShapeException(Message.of("GroupNorm", groups + " groups do not divide " + channels + " channels")
                    .argument("groups"));
        }
        weight = affine ? parameter("weight", Tensor.ones(channels)) : null;
        bias = affine ? parameter("bias", Tensor.zeros(channels)) : null;
    }

    @Override
    protected Tensor compute(Tensor x) {
        return ChannelNorms.groupNorm(x, groups, Parameter.of(weight), Parameter.of(bias), eps);
    }
}
