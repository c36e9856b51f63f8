// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Normalises each channel of each sample: x [N, C, L] → the same, as PyTorch's {@code nn.InstanceNorm1d}; see {@link RunningNorm}. */
public final class InstanceNorm1d extends RunningNorm {
    /**
     * With {@linkplain #options usual options}: no weight and bias, no running statistics.
     *
     * @param channels C
     */
    public InstanceNorm1d(long channels) {
        this(channels, options().noAffine().noRunningStatistics());
    }

    /**
     * With options.
     *
     * @param channels C
     * @param options eps, momentum, and what it has
     */
    public InstanceNorm1d(long channels, Options options) {
        super(true, 3, 3, channels, options);
    }
}
