// SPDX-License-Identifier: Apache-2.0
package dev.merapi.memory;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/** Memory of the Java heap: what the plain-Java backend stands on. Segments end at 2 GiB. */
public final class HeapAllocator implements RawAllocator {
    private static final long LARGEST = Integer.MAX_VALUE - 64;

    @Override
    public @Nullable Segment allocate(long byteSize) {
        if (byteSize > LARGEST) {
            return null;
        }
        try {
            return new Segment(ByteBuffer.allocate((int) byteSize).order(ByteOrder.nativeOrder()), 0, byteSize);
        } catch (OutOfMemoryError e) {
            return null;
        }
    }

    @Override
    public void free(Segment segment) {
        // Dropping the last reference is all that the heap needs.
    }

    @Override
    public Segment wrap(ByteBuffer buffer) {
        ByteBuffer whole = buffer.slice().order(ByteOrder.nativeOrder());
        return new Segment(whole, 0, whole.capacity());
    }

    /** Java asks for the right to write the file even for a private mapping; it ends when its buffer is unreachable. */
    @Override
    public @Nullable Mapping map(Path file, long offset, long bytes) throws IOException {
        if (bytes > Integer.MAX_VALUE || !Files.isWritable(file)) {
            return null;
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            return new Mapping(wrap(channel.map(FileChannel.MapMode.PRIVATE, offset, bytes)), () -> {});
        }
    }

    @Override
    public long defaultCap() {
        return Runtime.getRuntime().maxMemory() / 4 * 3;
    }
}
