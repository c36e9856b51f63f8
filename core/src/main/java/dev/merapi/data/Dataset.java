// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.tensor.Scope;
import java.util.Objects;
import java.util.function.Function;

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

    /**
     * The same samples with something done to each batch, on the thread that makes it: a {@link Transform}, for instance.
     * What is made on the way is freed.
     *
     * @param <C> what a batch becomes
     * @param change gets each batch
     * @return a dataset
     */
    default <C> Dataset<C> map(Function<? super B, ? extends C> change) {
        Objects.requireNonNull(change, "change");
        Dataset<B> before = this;
        return new Dataset<>() {
            @Override
            public long size() {
                return before.size();
            }

            @Override
            public C batch(long[] samples) {
                return Scope.scoped(() -> change.apply(before.batch(samples)));
            }
        };
    }
}
