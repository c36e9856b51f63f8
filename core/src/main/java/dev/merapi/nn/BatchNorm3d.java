// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Normalises each channel over the batch: volumes [N, C, D, H, W] → the same, as PyTorch's {@code nn.BatchNorm3d}; see {@link RunningNorm}. */
public final class BatchNorm3d extends RunningNorm {
    /**
     * With {@linkplain #options usual options}.
     *
     * @param channels C
     */
    public BatchNorm3d(long channels) {
        this(channels, options());
    }

    /**
     * With options.
     *
     * @param channels C
     * @param options eps, momentum, and what it has
     */
    public BatchNorm3d(long channels, Options options) {
        super(false, 5, 5, channels, options);
    }
}
