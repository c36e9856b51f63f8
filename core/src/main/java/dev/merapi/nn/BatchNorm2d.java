// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Normalises each channel over the batch: images [N, C, H, W] → the same, as PyTorch's {@code nn.BatchNorm2d}; see {@link RunningNorm}. */
public final class BatchNorm2d extends RunningNorm {
    /**
     * With {@linkplain #options usual options}.
     *
     * @param channels C
     */
    public BatchNorm2d(long channels) {
        this(channels, options());
    }

    /**
     * With options.
     *
     * @param channels C
     * @param options eps, momentum, and what it has
     */
    public BatchNorm2d(long channels, Options options) {
        super(false, 4, 4, channels, options);
    }
}
