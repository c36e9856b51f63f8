// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;

/**
 * A file that threads read by position, side by side. Java closes a channel when a thread that reads it is interrupted, for
 * all threads: so a reader's interrupt waits until it has read, and a channel that was closed nevertheless is opened again.
 */
final class SharedFile implements Closeable {
    private final Path path;
    private final BasicFileAttributes identity;
    private volatile FileChannel channel;
    private volatile boolean closed;

    SharedFile(Path path) throws IOException {
        this.path = path;
        this.channel = FileChannel.open(path, StandardOpenOption.READ);
        this.identity = Files.readAttributes(path, BasicFileAttributes.class);
    }

    long size() {
        return identity.size();
    }

    /** Bytes of a place in the file, little-endian. */
    ByteBuffer read(long position, int count) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        readFully(bytes, position);
        return bytes.flip();
    }

    /**
     * Fills a buffer.
     *
     * @throws FormatException if the file ends before, or is another one meanwhile
     */
    void readFully(ByteBuffer to, long position) throws IOException {
        long start = position - to.position();
        boolean interrupted = Thread.interrupted();
        try {
            while (to.hasRemaining()) {
                FileChannel open = channel;
                try {
                    if (open.read(to, start + to.position()) < 0) {
                        throw new FormatException("the file ended while it was being read: it is cut off");
                    }
                } catch (ClosedChannelException e) {
                    interrupted |= Thread.interrupted();
                    reopen(open);
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private synchronized void reopen(FileChannel broken) throws IOException {
        if (closed) {
            throw new IOException(path + " was closed before it was read");
        }
        if (channel != broken) {
            return;
        }
        FileChannel again = FileChannel.open(path, StandardOpenOption.READ);
        try {
            requireSame();
        } catch (IOException e) {
            again.close();
            throw e;
        }
        channel = again;
    }

    /** @throws FormatException if the path names another file by now */
    void requireSame() throws IOException {
        BasicFileAttributes now = Files.readAttributes(path, BasicFileAttributes.class);
        if (now.size() != identity.size()
                || !now.lastModifiedTime().equals(identity.lastModifiedTime())
                || now.fileKey() != null && !now.fileKey().equals(identity.fileKey())) {
            throw new FormatException("the file was replaced while it was open");
        }
    }

    @Override
    public synchronized void close() throws IOException {
        closed = true;
        channel.close();
    }
}
