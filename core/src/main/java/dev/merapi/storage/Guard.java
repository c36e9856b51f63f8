// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.error.Message;
import dev.merapi.error.OverrunException;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Guard mode, {@code -Dmerapi.memory.guard=true}: a slow allocator that shows what the usual one hides, as it cuts tensors
 * out of large segments and uses them again at once. Every tensor has a block of its own. Native memory ends at a page
 * that nobody may touch, so that a kernel that runs over it is stopped at that instruction, and stays untouchable when it
 * is freed; elsewhere, and in the up to 63 bytes before that page, marks stand around the block and are looked at when it
 * is freed. Fresh memory is full of NaN, −1 and true, freed memory of marks. Also the mode for a build of the natives with
 * AddressSanitizer.
 */
final class Guard {
    static final boolean ON = Boolean.getBoolean("merapi.memory.guard");

    private static final int MARGIN = 64;
    private static final byte FRESH = (byte) 0xff;
    private static final byte MARK = (byte) 0xcb;
    private static final int FILL = 1 << 12;
    private static final byte[] FRESH_BYTES = filled(FRESH);
    private static final byte[] MARK_BYTES = filled(MARK);

    /** An overrun that was found where nobody could be told, by the reclaimer: for who allocates next. */
    private static final AtomicReference<@Nullable String> UNTOLD = new AtomicReference<>();

    private Guard() {}

    /** A block that knows where its marks are. */
    static final class Guarded extends MemoryBlock {
        private final boolean fenced;
        private final long wanted;

        Guarded(CachingAllocator owner, Segment segment, long offset, long size, long wanted, boolean fenced) {
            super(owner, segment, offset, size);
            this.wanted = wanted;
            this.fenced = fenced;
        }

        long wanted() {
            return wanted;
        }
    }

    /** Bytes that a block takes from the cap. */
    static long reserve(long bytes) {
        return Math.addExact(bytes, 2L * MARGIN + MARGIN - 1) & -MARGIN;
    }

    /** A block of its own for that many bytes; null if the device has none. */
    static @Nullable MemoryBlock take(CachingAllocator owner, RawAllocator raw, long bytes) {
        String untold = UNTOLD.getAndSet(null);
        if (untold != null) {
            throw new OverrunException(untold);
        }
        long size = Math.max(MARGIN, bytes + MARGIN - 1 & -MARGIN);
        Segment fenced = raw.allocateGuarded(size);
        Segment segment = fenced != null ? fenced : raw.allocate(size + 2L * MARGIN);
        if (segment == null) {
            return null;
        }
        long offset = fenced != null ? segment.byteSize() - size : MARGIN;
        Guarded block = new Guarded(owner, segment, offset, size, bytes, fenced != null);
        ByteBuffer buffer = segment.buffer();
        if (buffer != null) {
            fill(buffer, 0, (int) segment.byteSize(), MARK_BYTES);
            fill(buffer, (int) offset, (int) bytes, FRESH_BYTES);
        }
        return block;
    }

    /** Gives a block back; returns what is wrong with its marks, or null. */
    static @Nullable String give(RawAllocator raw, MemoryBlock freed) {
        Guarded block = (Guarded) freed;
        String fault = null;
        ByteBuffer buffer = block.segment.buffer();
        if (buffer != null) {
            fault = fault(block, buffer);
            if (!block.fenced) {
                fill(buffer, 0, (int) block.segment.byteSize(), MARK_BYTES);
            }
        }
        if (block.fenced) {
            raw.freeGuarded(block.segment);
        } else {
            raw.free(block.segment);
        }
        return fault;
    }

    /** Leaves the news of an overrun for who allocates next. */
    static void tellLater(String fault) {
        UNTOLD.set(fault);
    }

    private static @Nullable String fault(Guarded block, ByteBuffer buffer) {
        int begin = (int) block.offset;
        int end = begin + (int) block.wanted;
        for (int i = Math.max(0, begin - MARGIN); i < block.segment.byteSize(); i++) {
            if ((i < begin || i >= end) && buffer.get(i) != MARK) {
                String where = i < begin ? (begin - i) + " before its beginning" : (i - end) + " behind its end";
                return Message.of("guard: memory beside " + CachingAllocator.describe(block) + " was written: byte "
                                + where)
                        .fix(
                                "look at the kernels that had this tensor; -Dmerapi.leakDetection=paranoid says where it was"
                                        + " made.")
                        .toString();
            }
        }
        return null;
    }

    private static byte[] filled(byte value) {
        byte[] bytes = new byte[FILL];
        java.util.Arrays.fill(bytes, value);
        return bytes;
    }

    private static void fill(ByteBuffer buffer, int at, int count, byte[] pattern) {
        for (int i = 0; i < count; i += FILL) {
            buffer.put(at + i, pattern, 0, Math.min(FILL, count - i));
        }
    }
}
