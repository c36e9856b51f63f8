// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import org.jspecify.annotations.Nullable;

/**
 * What a thread holds while it is in a call or handles memory, and nobody holds in between: the epoch that the call began
 * at (see {@link Protection}), and free blocks and a chunk that its holder uses without a lock. There are as many slots as
 * threads were at work at once, however many have come and gone; a thread takes the one it had before if it can.
 */
final class Slot {
    /** Nobody holds it. */
    private static final long IDLE = 0;
    /** Held by a thread that handles memory and is in no call: no epoch waits for it. */
    static final long NO_CALL = Long.MAX_VALUE;
    /** There were too many; this one is never held again. */
    private static final long GONE = -1;

    /** Free blocks kept per class: about this many bytes, and at least a few blocks. */
    private static final long CACHED_BYTES_PER_CLASS = 256 << 10;

    private static final VarHandle EPOCH;

    static {
        try {
            EPOCH = MethodHandles.lookup().findVarHandle(Slot.class, "epoch", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private volatile long epoch;
    /** The holder shall give its cached blocks back before it lets go: somebody found no memory. */
    volatile boolean flushRequested;

    // The rest belongs to the holder.

    /** The one allocator that blocks are cached of: the first one, until its blocks are gone. */
    private @Nullable CachingAllocator cachedOwner;

    private final @Nullable MemoryBlock[][] cached = new MemoryBlock[SizeClasses.COUNT][];
    private final int[] cachedCount = new int[SizeClasses.COUNT];
    private int cachedTotal;

    @Nullable
    Chunk chunk;

    /** @param epoch who makes it holds it */
    Slot(long epoch) {
        this.epoch = epoch;
    }

    /** Holds this slot if nobody does. */
    boolean claim(long newEpoch) {
        return EPOCH.compareAndSet(this, IDLE, newEpoch);
    }

    /** For good. */
    boolean retire() {
        return EPOCH.compareAndSet(this, IDLE, GONE);
    }

    /** The call is over, but its thread goes on to handle memory. */
    void endCall() {
        EPOCH.setVolatile(this, NO_CALL);
    }

    void release() {
        EPOCH.setRelease(this, IDLE);
    }

    boolean isIdle() {
        return epoch == IDLE;
    }

    /** The epoch of the call in progress, or something that is not between 1 and {@link #NO_CALL}. */
    long epoch() {
        return epoch;
    }

    @Nullable
    MemoryBlock take(CachingAllocator owner, int sizeClass) {
        int n = cachedCount[sizeClass];
        if (n == 0 || owner != cachedOwner) {
            return null;
        }
        MemoryBlock[] stack = cached[sizeClass];
        cachedCount[sizeClass] = n - 1;
        cachedTotal--;
        MemoryBlock block = stack[n - 1];
        stack[n - 1] = null;
        return block;
    }

    /** Keeps a free block for the next request of its size; false if there are enough. */
    boolean offer(MemoryBlock block) {
        if (cachedOwner != block.owner) {
            if (cachedTotal > 0) {
                return false;
            }
            cachedOwner = block.owner;
        }
        int c = block.sizeClass;
        MemoryBlock[] stack = cached[c];
        if (stack == null) {
            int limit = (int) Math.max(4, Math.min(256, CACHED_BYTES_PER_CLASS / SizeClasses.size(c)));
            stack = new MemoryBlock[limit];
            cached[c] = stack;
        }
        int n = cachedCount[c];
        if (n == stack.length) {
            return false;
        }
        stack[n] = block;
        cachedCount[c] = n + 1;
        cachedTotal++;
        return true;
    }

    /** Gives all cached blocks back to their allocator, and the chunk up. */
    void flush() {
        flushRequested = false;
        CachingAllocator owner = cachedOwner;
        if (owner != null && cachedTotal > 0) {
            for (int c = 0; c < cached.length; c++) {
                MemoryBlock[] stack = cached[c];
                for (int i = 0; i < cachedCount[c]; i++) {
                    owner.giveBack(stack[i]);
                    stack[i] = null;
                }
                cachedCount[c] = 0;
            }
            cachedTotal = 0;
        }
        cachedOwner = null; // or a device that is gone would stay reachable
        Chunk filled = chunk;
        if (filled != null) {
            chunk = null;
            filled.release(null);
        }
    }
}
