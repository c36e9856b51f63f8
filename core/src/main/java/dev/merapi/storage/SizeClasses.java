// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

/**
 * The sizes that small requests are rounded to: steps of 64 bytes up to 1 KiB, then four a power of two up to 1 MiB.
 * At most a fifth of a block is wasted above 1 KiB.
 */
final class SizeClasses {
    static final long LARGEST = 1 << 20;
    static final int COUNT = 16 + 40;

    private SizeClasses() {}

    /** The class that holds {@code bytes}, which is between 0 and {@link #LARGEST}. */
    static int of(long bytes) {
        if (bytes <= 1024) {
            return bytes <= 64 ? 0 : (int) (bytes + 63 >>> 6) - 1;
        }
        int log = 63 - Long.numberOfLeadingZeros(bytes - 1); // 2^log < bytes <= 2^(log+1)
        int quarter = (int) (bytes - 1 - (1L << log) >>> log - 2);
        return 16 + (log - 10) * 4 + quarter;
    }

    static long size(int sizeClass) {
        if (sizeClass < 16) {
            return (sizeClass + 1) * 64L;
        }
        int log = 10 + (sizeClass - 16) / 4;
        return (1L << log) + ((sizeClass - 16) % 4 + 1L << log - 2);
    }
}
