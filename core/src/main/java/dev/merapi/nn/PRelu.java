// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;

/** The input where positive, else the input times a learned slope. */
public final class PRelu extends Layer {
    private final Parameter weight;

    /** One slope for all, 0.25 at first. */
    public PRelu() {
        this(1, 0.25);
    }

    /**
     * A slope for each channel.
     *
     * @param channels C of x [N, C, ..], or 1 for all
     * @param slope what they begin with
     */
    public PRelu(long channels, double slope) {
        Init.atLeast(1, "PRelu", "channels", channels);
        weight = parameter("weight", Tensor.full((float) slope, channels));
    }

    @Override
    protected Tensor compute(Tensor x) {
        return Objects.requireNonNull(x, "x").prelu(weight.tensor());
    }
}
