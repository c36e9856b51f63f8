// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.random.Philox;

/** Which samples an epoch takes, and in what order: a function of the epoch's number alone, so that runs can be resumed. */
@FunctionalInterface
public interface Sampler {
    /**
     * The samples of an epoch, each from 0 up to, not including, {@code size}.
     *
     * @param size how many samples there are
     * @param epoch which one, from 0
     * @return the samples in their order; fewer or more than {@code size} if wanted
     */
    long[] order(long size, long epoch);

    /**
     * All, as they come.
     *
     * @return a sampler
     */
    static Sampler sequential() {
        return (size, epoch) -> {
            long[] order = new long[Math.toIntExact(size)];
            for (int i = 0; i < order.length; i++) {
                order[i] = i;
            }
            return order;
        };
    }

    /**
     * All, in another random order each epoch. The same for the same seed, everywhere.
     *
     * @param seed any number
     * @return a sampler
     */
    static Sampler shuffled(long seed) {
        return (size, epoch) -> {
            long[] order = sequential().order(size, epoch);
            for (int i = order.length - 1; i > 0; i--) { // Fisher and Yates
                int j = (int) Philox.integer(Philox.bits(seed, epoch << 32, i), 0, i + 1L);
                long swapped = order[i];
                order[i] = order[j];
                order[j] = swapped;
            }
            return order;
        };
    }

    /**
     * So many an epoch, each chosen from all at random.
     *
     * @param seed any number
     * @param count how many, at least 0
     * @return a sampler
     */
    static Sampler random(long seed, int count) {
        if (count < 0) {
            throw new IllegalArgumentException("sampler: cannot choose " + count + " samples an epoch");
        }
        return (size, epoch) -> {
            long[] order = new long[size == 0 ? 0 : count];
            for (int i = 0; i < order.length; i++) {
                order[i] = Philox.integer(Philox.bits(seed, epoch << 32, i), 0, size);
            }
            return order;
        };
    }
}
