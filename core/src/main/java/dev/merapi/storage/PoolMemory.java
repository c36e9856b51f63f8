// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** Segments of a pool: blocks of the allocator that it belongs to, so that caps and statistics count them there. */
final class PoolMemory implements RawAllocator {
    private static final long SEGMENT = 2L << 20;

    private final CachingAllocator parent;
    private final String occupant;
    private final @Nullable StreamOrder home;
    private final ConcurrentMap<Segment, MemoryBlock> blocks = new ConcurrentHashMap<>();

    PoolMemory(CachingAllocator parent, String occupant, @Nullable StreamOrder home) {
        this.parent = parent;
        this.occupant = occupant;
        this.home = home;
    }

    @Override
    public @Nullable Segment allocate(long byteSize) {
        MemoryBlock block = parent.allocateSegment(byteSize, occupant);
        if (block == null) {
            return null;
        }
        if (home != null) {
            parent.order(parent.streamHandle(), home.handle()); // who had it before
        }
        Segment segment = new Segment(null, block.address(), byteSize);
        blocks.put(segment, block);
        return segment;
    }

    @Override
    public void free(Segment segment) {
        if (home != null) {
            parent.await(home);
        }
        parent.free(java.util.Objects.requireNonNull(blocks.remove(segment)), null);
    }

    @Override
    public void order(long before, long after) {
        parent.order(before, after);
    }

    @Override
    public long segmentSize() {
        return SEGMENT;
    }

    @Override
    public long defaultCap() {
        return Long.MAX_VALUE; // the parent's holds
    }

    @Override
    public boolean isJavaVisible() {
        return false;
    }
}
