// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;

/** Bytes that are read once, in order. */
@FunctionalInterface
interface ByteSource {
    /**
     * Fills a buffer from its position to its limit.
     *
     * @throws FormatException if there are fewer bytes
     */
    void readFully(ByteBuffer to) throws IOException;

    /** The bytes of a file from a position on. */
    static ByteSource of(SharedFile file, long position) {
        long[] at = {position};
        return to -> {
            int count = to.remaining();
            file.readFully(to, at[0]);
            at[0] += count;
        };
    }

    /** The bytes of a stream, which is not closed. */
    static ByteSource of(InputStream in) {
        byte[] piece = new byte[1 << 16];
        return to -> {
            while (to.hasRemaining()) {
                int n = in.read(piece, 0, Math.min(piece.length, to.remaining()));
                if (n < 0) {
                    throw new FormatException("the data is cut off: " + to.remaining() + " more bytes were to come");
                }
                to.put(piece, 0, n);
            }
        };
    }
}
