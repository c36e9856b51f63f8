// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import org.jspecify.annotations.Nullable;

/**
 * What the memory layer keeps per thread: the epoch of the call in progress (see {@link Protection}) and small free
 * blocks, so that the usual allocation takes no lock. Owned by one thread; registered as long as its owner lives.
 */
public final class ThreadState {
    private static final VarHandle EPOCH;

    static {
        try {
            EPOCH = MethodHandles.lookup().findVarHandle(ThreadState.class, "epoch", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** Free blocks kept per class: about this many bytes, and at least a few blocks. */
    private static final long CACHED_BYTES_PER_CLASS = 256 << 10;

    @SuppressWarnings("unused") // through EPOCH
    private volatile long epoch;

    private int depth;
    /** The one allocator that this thread caches blocks of: the CPU's, unless it only works on another. */
    private @Nullable CachingAllocator cachedOwner;

    private final @Nullable Block[][] cached = new Block[SizeClasses.COUNT][];
    private final int[] cachedCount = new int[SizeClasses.COUNT];

    @Nullable
    Chunk chunk;

    /**
     * @param lifetime when this object is collected, the state is dropped and its cached blocks go back
     */
    public ThreadState(Object lifetime) {
        Protection.register(this, lifetime);
    }

    /** A call begins: no storage that is open now is freed before {@link #exit}. Nests. */
    public void enter() {
        if (depth++ == 0) {
            EPOCH.setVolatile(this, Protection.currentEpoch());
        }
    }

    /** The call ends. */
    public void exit() {
        if (--depth == 0) {
            EPOCH.setRelease(this, 0L);
            Protection.drainIfPending();
        }
    }

    long activeEpoch() {
        return (long) EPOCH.getVolatile(this);
    }

    @Nullable
    Block take(CachingAllocator owner, int sizeClass) {
        int n = cachedCount[sizeClass];
        if (n == 0 || owner != cachedOwner) {
            return null;
        }
        Block[] stack = cached[sizeClass];
        cachedCount[sizeClass] = n - 1;
        Block block = stack[n - 1];
        stack[n - 1] = null;
        return block;
    }

    /** Keeps a free block for the next request of its size; false if there are enough. */
    boolean offer(Block block) {
        if (cachedOwner != block.owner) {
            if (cachedOwner != null) {
                return false;
            }
            cachedOwner = block.owner;
        }
        int c = block.sizeClass;
        Block[] stack = cached[c];
        if (stack == null) {
            int limit = (int) Math.max(4, Math.min(256, CACHED_BYTES_PER_CLASS / SizeClasses.size(c)));
            stack = new Block[limit];
            cached[c] = stack;
        }
        int n = cachedCount[c];
        if (n == stack.length) {
            return false;
        }
        stack[n] = block;
        cachedCount[c] = n + 1;
        return true;
    }

    /** Gives all cached blocks back to their allocator. Only by the owning thread, or when that is gone. */
    void flush() {
        CachingAllocator owner = cachedOwner;
        if (owner == null) {
            return;
        }
        for (int c = 0; c < cached.length; c++) {
            Block[] stack = cached[c];
            for (int i = 0; i < cachedCount[c]; i++) {
                owner.giveBack(stack[i]);
                stack[i] = null;
            }
            cachedCount[c] = 0;
        }
    }
}
