// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

/** Normalises each channel over the batch: x [N, C] or [N, C, L] → the same, as PyTorch's {@code nn.BatchNorm1d}; see {@link RunningNorm}. */
public final class BatchNorm1d extends RunningNorm {
    /**
     * With {@linkplain #options usual options}.
     *
     * @param channels C
     */
    public BatchNorm1d(long channels) {
        this(channels, options());
    }

    /**
     * With options.
     *
     * @param channels C
     * @param options eps, momentum, and what it has
     */
    public BatchNorm1d(long channels, Options options) {
        super(false, 2, 3, channels, options);
    }
}
