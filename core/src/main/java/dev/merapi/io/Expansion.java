// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.function.LongSupplier;

/**
 * What decompresses, within limits: a file of a few megabytes can be made that grows to many gigabytes. More than 64 MiB
 * that are more than {@value #USUAL} times as much as was read are refused; {@code -Dmerapi.io.expansion=N} allows N times.
 */
final class Expansion extends FilterInputStream {
    private static final long FREE = 64L << 20;
    private static final int USUAL = 200;

    private final LongSupplier compressed;
    private final long limit = Long.getLong("merapi.io.expansion", USUAL);
    private long expanded;

    /** @param compressed bytes that were read of the file so far, or of the whole entry */
    Expansion(InputStream in, LongSupplier compressed) {
        super(in);
        this.compressed = compressed;
    }

    @Override
    public int read() throws IOException {
        int b = super.read();
        count(b < 0 ? 0 : 1);
        return b;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
        int n = super.read(bytes, offset, length);
        count(Math.max(n, 0));
        return n;
    }

    private void count(int n) throws FormatException {
        expanded += n;
        if (expanded > FREE && expanded / limit > compressed.getAsLong()) {
            throw new FormatException("it grows to more than " + limit + " times its " + compressed.getAsLong()
                    + " compressed bytes\n  fix: if you trust it, -Dmerapi.io.expansion=1100 allows what gzip can do.");
        }
    }

    /** Counts what is read of a stream. */
    static final class Counter extends FilterInputStream {
        long count;

        Counter(InputStream in) {
            super(in);
        }

        @Override
        public int read() throws IOException {
            int b = super.read();
            count += b < 0 ? 0 : 1;
            return b;
        }

        @Override
        public int read(byte[] bytes, int offset, int length) throws IOException {
            int n = super.read(bytes, offset, length);
            count += Math.max(n, 0);
            return n;
        }
    }
}
