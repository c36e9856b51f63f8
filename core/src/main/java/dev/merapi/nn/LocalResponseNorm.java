// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.ChannelNorms;
import dev.merapi.tensor.Tensor;

/** Divides by what neighbouring channels have: x / (k + alpha · mean of x² over them)^beta, [N, C, ..] → the same. */
public final class LocalResponseNorm extends Layer {
    private final long size;
    private final double alpha;
    private final double beta;
    private final double k;

    /**
     * With alpha 1e-4, beta 0.75 and k 1.
     *
     * @param size how many neighbours, at least 1
     */
    public LocalResponseNorm(long size) {
        this(size, 1e-4, 0.75, 1);
    }

    /**
     * With all numbers.
     *
     * @param size how many neighbours, at least 1
     * @param alpha what their squares count for
     * @param beta the exponent
     * @param k what is added
     */
    public LocalResponseNorm(long size, double alpha, double beta, double k) {
        this.size = Init.atLeast(1, "LocalResponseNorm", "size", size);
        this.alpha = alpha;
        this.beta = beta;
        this.k = k;
    }

    @Override
    protected Tensor compute(Tensor x) {
        return ChannelNorms.localResponseNorm(x, size, alpha, beta, k);
    }
}
