// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Normalises each channel of each sample: images [N, C, H, W] → the same, as PyTorch's {@code nn.InstanceNorm2d}; see {@link RunningNorm}. */
public final class InstanceNorm2d extends RunningNorm {
    /**
     * With {@linkplain #options usual options}: no weight and bias, no running statistics.
     *
     * @param channels C
     */
    public InstanceNorm2d(long channels) {
        this(channels, options().noAffine().noRunningStatistics());
    }

    /**
     * With options.
     *
     * @param channels C
     * @param options eps, momentum, and what it has
     */
    public InstanceNorm2d(long channels, Options options) {
        super(true, 4, 4, channels, options);
    }
}
