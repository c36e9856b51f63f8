// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * A block shared by many small storages that no scope owns, so that they need one phantom reference together. Each of
 * them holds the chunk; it goes back when all are closed or unreachable.
 */
final class Chunk {
    static final long SIZE = 64 << 10;
    static final long LARGEST_TENANT = 1024;

    final MemoryBlock block;
    private final AtomicInteger tenants = new AtomicInteger(1); // the slot that fills it counts as one
    private final Backstop.Ref ref;
    private long used;

    Chunk(MemoryBlock block) {
        this.block = block;
        this.ref = Backstop.watch(this, block);
    }

    /** The offset of a new piece within the block, or −1 if there is no room; by the holder of the slot only. */
    long carve(long bytes) {
        long size = Math.max(bytes + 63 & -64, 64);
        if (used + size > block.size) {
            return -1;
        }
        long at = used;
        used += size;
        tenants.getAndIncrement();
        return at;
    }

    /** A tenant, or the slot that fills it, is done with it. */
    void release(@Nullable ThreadState state) {
        if (tenants.decrementAndGet() == 0 && Backstop.unwatch(ref)) {
            Protection.retire(state, block);
        }
    }
}
