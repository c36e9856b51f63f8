// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.memory.Segment;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Memory that others own: a buffer, a mapped file, what a library allocated. It is held and freed as any block is, but takes
 * nothing of the device's cap, and to free it means to tell its owner, once.
 */
final class Foreign extends MemoryBlock {
    private final AtomicReference<@Nullable Runnable> release;

    @SuppressWarnings("unused") // so that it stays reachable
    private volatile @Nullable Object holder;

    Foreign(CachingAllocator owner, Segment segment, @Nullable Object holder, Runnable release) {
        super(owner, segment, 0, 0);
        this.holder = holder;
        this.release = new AtomicReference<>(release);
    }

    /** Nobody uses the memory any more. What the action throws is for the log: the others' memory is to be freed too. */
    void release() {
        Runnable action = release.getAndSet(null);
        if (action != null) {
            try {
                action.run();
            } catch (Throwable e) {
                owner.complain("memory of others could not be given back", e);
            }
            holder = null;
        }
    }
}
