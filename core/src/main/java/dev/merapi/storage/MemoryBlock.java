// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.memory.Segment;
import dev.merapi.types.DType;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** A piece of a segment, handed out and taken back by one allocator; the object is reused with its memory. */
public sealed class MemoryBlock permits Guard.Guarded, Foreign {
    final CachingAllocator owner;
    final Segment segment;
    long offset;
    long size;
    /** Index of the size class whose lists it travels, or −1 for a block of the split-and-merge pool. */
    int sizeClass = -1;

    boolean free;

    @Nullable
    MemoryBlock previous;

    @Nullable
    MemoryBlock next;
    /** What lives here, for the out-of-memory report. */
    @Nullable
    Object occupant;

    @Nullable
    DType dtype;

    @Nullable
    Throwable origin;

    /** Streams besides its home that have used it since it was handed out; replaced as a whole. */
    volatile StreamOrder @Nullable [] users;

    MemoryBlock(CachingAllocator owner, Segment segment, long offset, long size) {
        this.owner = owner;
        this.segment = segment;
        this.offset = offset;
        this.size = size;
    }

    /** Work of a stream uses this memory. */
    void usedBy(StreamOrder stream) {
        if (stream.handle() == owner.streamHandle() || contains(users, stream)) {
            return;
        }
        synchronized (this) {
            StreamOrder[] known = users;
            if (!contains(known, stream)) {
                StreamOrder[] more = known == null ? new StreamOrder[1] : Arrays.copyOf(known, known.length + 1);
                more[more.length - 1] = stream;
                users = more;
            }
        }
    }

    private static boolean contains(StreamOrder @Nullable [] all, StreamOrder stream) {
        if (all != null) {
            for (StreamOrder s : all) {
                // The handle of a stream that is closed may be another's by now.
                if (s == stream || s.handle() == stream.handle() && s.isOpen()) {
                    return true;
                }
            }
        }
        return false;
    }

    public @Nullable ByteBuffer buffer() {
        return segment.buffer();
    }

    /** First byte within {@link #buffer}. */
    public long offset() {
        return offset;
    }

    /** Address of the first byte, or 0 where there is none. */
    public long address() {
        return segment.address() == 0 ? 0 : segment.address() + offset;
    }

    public long size() {
        return size;
    }
}
