// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

/**
 * Numbered samples, from which batches are made. A batch is made whole, not sample by sample: that is where the time goes.
 *
 * @param <B> a batch: a tensor, or a public record, list or map of tensors, such as {@link Labelled}
 */
public interface Dataset<B> {
    /** {@return the number of samples} */
    long size();

    /**
     * A batch of these samples, in this order. Called on one thread at a time, which need not be the caller's.
     *
     * @param samples from 0 up to, not including, {@link #size}
     * @return the batch, which belongs to the caller
     */
    B batch(long[] samples);
}
