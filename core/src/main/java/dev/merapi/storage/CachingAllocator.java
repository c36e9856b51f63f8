// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.error.Message;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The caching allocator of a device: small requests are served by size class from lists that each thread keeps, large
 * ones by best fit with split and merge; memory goes back to the device only on {@link #trim} or when it runs out.
 */
public final class CachingAllocator {
    private static final long PAGE = 4096;
    private static final long LARGE_UNIT = 2L << 20;
    /** A remainder below this is left with the block instead of being split off. */
    private static final long SPLIT = 64 << 10;

    private final Device device;
    private final RawAllocator raw;
    private final ReentrantLock lock = new ReentrantLock();
    private final List<ArrayDeque<Block>> classLists = new ArrayList<>();
    private final TreeSet<Block> freeBlocks = new TreeSet<>(Comparator.comparingLong((Block b) -> b.size)
            .thenComparingLong(b -> System.identityHashCode(b.segment))
            .thenComparingLong(b -> b.offset));
    private final List<Block> segmentHeads = new ArrayList<>();
    private final AtomicLong allocated = new AtomicLong();
    private final AtomicLong peak = new AtomicLong();
    private final AtomicLong liveBlocks = new AtomicLong();
    /** Of a pool: whose blocks its segments are. What is freed returns to a pool at once, not to a thread's cache. */
    private final @Nullable CachingAllocator parent;

    /** Of a pool that one stream takes memory from: that stream. Else the device's own is the home of all blocks. */
    private final @Nullable StreamOrder home;

    private long reserved;
    private volatile boolean closed;
    private volatile long cap;

    public CachingAllocator(Device device, RawAllocator raw) {
        this(device, raw, null, null);
    }

    private CachingAllocator(
            Device device, RawAllocator raw, @Nullable CachingAllocator parent, @Nullable StreamOrder home) {
        this.device = device;
        this.raw = raw;
        this.parent = parent;
        this.home = home;
        this.cap = raw.defaultCap();
        for (int i = 0; i < SizeClasses.COUNT; i++) {
            classLists.add(new ArrayDeque<>());
        }
    }

    public Device device() {
        return device;
    }

    /**
     * An allocator apart: what is freed there is used again there only. Its memory is this one's and counts as allocated
     * here until {@link #close}. For device memory only, which Java does not see.
     *
     * @param occupant what it is for, in reports
     * @param home the stream whose work uses it; null if that is the device's own
     */
    public CachingAllocator pool(String occupant, @Nullable StreamOrder home) {
        if (isJavaVisible()) {
            throw new IllegalStateException(
                    "pool of " + device + ": Java sees its memory, and would not that of a pool");
        }
        return new CachingAllocator(device, new PoolMemory(this, occupant, home), this, home);
    }

    /** Ends a pool: memory that nobody uses goes back now, the rest when it is freed. */
    public void close(ThreadState state) {
        if (parent == null) {
            throw new IllegalStateException("allocator of " + device + ": only pools can be closed");
        }
        lock.lock();
        try {
            closed = true;
        } finally {
            lock.unlock();
        }
        trim(state);
    }

    /** The stream in whose order blocks are used again. */
    long streamHandle() {
        StreamOrder h = home;
        return h == null || closed || !h.isOpen() ? 0 : h.handle();
    }

    /** The home of memory waits for streams that used it. */
    void await(StreamOrder user) {
        if (user.isOpen() && user.handle() != streamHandle()) {
            raw.order(user.handle(), streamHandle());
        }
    }

    void order(long before, long after) {
        raw.order(before, after);
    }

    /** A block for a pool; null if there is no room. */
    @Nullable
    Block allocateSegment(long bytes, String occupant) {
        Block block = allocateLarge(bytes, null);
        if (block != null) {
            occupy(block, occupant, null);
        }
        return block;
    }

    /**
     * Memory of at least that many bytes, aligned to 64.
     *
     * @param occupant what will live there, and its dtype if that has one: for reports
     */
    Block allocate(long bytes, ThreadState state, Object occupant, @Nullable DType dtype) {
        Block block;
        if (bytes <= SizeClasses.LARGEST) {
            int c = SizeClasses.of(bytes);
            block = state.take(this, c);
            if (block == null) {
                block = refill(c, state);
            }
        } else {
            block = allocateLarge(bytes, state);
        }
        if (block == null) {
            throw outOfMemory(bytes, (dtype == null ? "" : dtype) + occupant.toString());
        }
        occupy(block, occupant, dtype);
        return block;
    }

    private void occupy(Block block, Object occupant, @Nullable DType dtype) {
        block.occupant = occupant;
        block.dtype = dtype;
        block.origin = LeakDetection.origin();
        liveBlocks.getAndIncrement();
        long now = allocated.addAndGet(block.size);
        if (now > peak.get()) {
            peak.accumulateAndGet(now, Math::max);
        }
    }

    private @Nullable Block refill(int sizeClass, ThreadState state) {
        lock.lock();
        try {
            Block block = classLists.get(sizeClass).poll();
            if (block != null) {
                return block;
            }
            long size = SizeClasses.size(sizeClass);
            // One page at least, so that small classes are carved by the page and not by the block.
            int count = (int) Math.max(1, Math.min(64, PAGE / size));
            block = cut(size * count, true);
            if (block != null) {
                for (int i = count - 1; i > 0; i--) {
                    Block piece = splitOff(block, size * i);
                    piece.sizeClass = sizeClass;
                    classLists.get(sizeClass).push(piece);
                }
                block.sizeClass = sizeClass;
                return block;
            }
        } finally {
            lock.unlock();
        }
        Block block = recover(SizeClasses.size(sizeClass), state);
        if (block != null) {
            block.sizeClass = sizeClass;
        }
        return block;
    }

    private @Nullable Block allocateLarge(long bytes, @Nullable ThreadState state) {
        long size = bytes + PAGE - 1 & -PAGE;
        if (size <= 0 || size > cap) {
            return null; // whatever is collected
        }
        lock.lock();
        try {
            Block block = cut(size, true);
            if (block != null) {
                return block;
            }
        } finally {
            lock.unlock();
        }
        return recover(size, state);
    }

    /** Best fit from the free blocks, else from a new segment; null if the cap or the device says no. */
    private @Nullable Block cut(long size, boolean grow) {
        Block key = new Block(this, new Segment(null, 0, 0), -1, size);
        Block best = ceiling(key);
        if (best != null && best.segment.buffer() == null && raw.isJavaVisible() && size <= Integer.MAX_VALUE) {
            best = smallestWithView(best);
        }
        if (best == null && grow) {
            best = newSegment(size);
        }
        if (best == null) {
            return null;
        }
        freeBlocks.remove(best);
        best.free = false;
        if (best.size - size >= (size <= SizeClasses.LARGEST ? 64 : SPLIT)) {
            Block rest = splitOff(best, size);
            rest.free = true;
            freeBlocks.add(rest);
        }
        return best;
    }

    private @Nullable Block ceiling(Block key) {
        Block best = freeBlocks.ceiling(key);
        // The key's own place in the order among equal sizes is arbitrary; look for one just below it.
        Block lower = freeBlocks.lower(key);
        return lower != null && lower.size == key.size ? lower : best;
    }

    /** Java kernels could not work on a small tensor in a huge segment, which has no Java view: those stay apart. */
    private @Nullable Block smallestWithView(Block from) {
        for (Block block : freeBlocks.tailSet(from, true)) {
            if (block.segment.buffer() != null) {
                return block;
            }
        }
        return null;
    }

    private @Nullable Block newSegment(long size) {
        long usual = raw.segmentSize();
        long wanted = size >= usual / 2 ? (size + LARGE_UNIT - 1) / LARGE_UNIT * LARGE_UNIT : usual;
        long room = cap - reserved;
        if (wanted > room) {
            wanted = size; // near the cap, take what is asked for and no more
        }
        if (wanted > room) {
            return null;
        }
        Segment segment = raw.allocate(wanted);
        if (segment == null && wanted > size && size <= room) {
            wanted = size;
            segment = raw.allocate(size);
        }
        if (segment == null) {
            return null;
        }
        reserved += wanted;
        Block block = new Block(this, segment, 0, wanted);
        block.free = true;
        segmentHeads.add(block);
        freeBlocks.add(block);
        return block;
    }

    private Block splitOff(Block block, long size) {
        Block rest = new Block(this, block.segment, block.offset + size, block.size - size);
        block.size = size;
        rest.previous = block;
        rest.next = block.next;
        if (rest.next != null) {
            rest.next.previous = rest;
        }
        block.next = rest;
        return rest;
    }

    /** Out of room: drop caches, collect once, try once more; null if all that did not help. */
    private @Nullable Block recover(long size, @Nullable ThreadState state) {
        for (int attempt = 0; attempt < 2; attempt++) {
            if (state != null) {
                state.flush();
            }
            if (attempt == 1) {
                Backstop.collectNow();
            }
            lock.lock();
            try {
                mergeClassLists();
                Block block = cut(size, false);
                if (block == null) {
                    releaseFreeSegments();
                    block = cut(size, true);
                }
                if (block != null) {
                    return block;
                }
            } finally {
                lock.unlock();
            }
        }
        return null;
    }

    /** Takes a block back from its last owner. */
    void free(Block block, @Nullable ThreadState state) {
        StreamOrder[] users = block.users;
        if (users != null) {
            block.users = null;
            for (StreamOrder user : users) {
                await(user);
            }
        }
        allocated.addAndGet(-block.size);
        liveBlocks.getAndDecrement();
        block.occupant = null;
        block.dtype = null;
        block.origin = null;
        if (block.sizeClass < 0 || state == null || parent != null || !state.offer(block)) {
            giveBack(block);
        }
    }

    /** To the shared lists; the block is already accounted as free. */
    void giveBack(Block block) {
        lock.lock();
        try {
            if (block.sizeClass >= 0) {
                classLists.get(block.sizeClass).push(block);
            } else {
                merge(block);
            }
            if (closed) {
                mergeClassLists();
                releaseFreeSegments();
            }
        } finally {
            lock.unlock();
        }
    }

    private void merge(Block block) {
        Block merged = block;
        Block next = block.next;
        if (next != null && next.free) {
            freeBlocks.remove(next);
            absorbNext(merged);
        }
        Block previous = block.previous;
        if (previous != null && previous.free) {
            freeBlocks.remove(previous);
            absorbNext(previous);
            merged = previous;
        }
        merged.free = true;
        merged.sizeClass = -1;
        freeBlocks.add(merged);
    }

    private static void absorbNext(Block block) {
        Block next = java.util.Objects.requireNonNull(block.next);
        block.size += next.size;
        block.next = next.next;
        if (block.next != null) {
            block.next.previous = block;
        }
    }

    private void mergeClassLists() {
        for (ArrayDeque<Block> list : classLists) {
            for (Block b = list.poll(); b != null; b = list.poll()) {
                b.sizeClass = -1;
                merge(b);
            }
        }
    }

    private void releaseFreeSegments() {
        segmentHeads.removeIf(head -> {
            boolean whole = head.free && head.next == null;
            if (whole) {
                freeBlocks.remove(head);
                reserved -= head.size;
                raw.free(head.segment);
            }
            return whole;
        });
    }

    /** Returns to the device all memory that is not in use; blocks cached by other threads stay. */
    public void trim(ThreadState state) {
        state.flush();
        lock.lock();
        try {
            mergeClassLists();
            releaseFreeSegments();
        } finally {
            lock.unlock();
        }
    }

    public MemoryStats stats() {
        lock.lock();
        try {
            return new MemoryStats(allocated.get(), reserved, peak.get(), cap, liveBlocks.get());
        } finally {
            lock.unlock();
        }
    }

    /** The peak starts again from what is allocated now. */
    public void resetPeak() {
        peak.set(allocated.get());
    }

    /** Limits what is taken from the device, in bytes; what is taken already stays. */
    public void setCap(long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("memory cap of " + device + ": negative: " + bytes);
        }
        cap = bytes;
    }

    /** Whether Java kernels can work on this memory. */
    public boolean isJavaVisible() {
        return raw.isJavaVisible();
    }

    public long cap() {
        return cap;
    }

    /** The largest live blocks, largest first, each a line: size, what it holds, and its origin if that is recorded. */
    public List<String> largest(int count) {
        lock.lock();
        try {
            List<Block> live = new ArrayList<>();
            for (Block head : segmentHeads) {
                for (Block b = head; b != null; b = b.next) {
                    if (b.occupant != null) {
                        live.add(b);
                    }
                }
            }
            live.sort(Comparator.comparingLong((Block b) -> b.size).reversed());
            return live.stream().limit(count).map(CachingAllocator::describe).toList();
        } finally {
            lock.unlock();
        }
    }

    private static String describe(Block block) {
        return block.size + " bytes: " + (block.dtype == null ? "" : block.dtype) + block.occupant
                + (block.origin == null ? "" : ", made at " + LeakDetection.describe(block.origin));
    }

    private OutOfMemoryException outOfMemory(long bytes, String occupant) {
        if (parent != null) {
            return parent.outOfMemory(bytes, occupant);
        }
        MemoryStats s = stats();
        Message m = Message.of("out of memory on " + device + ": " + bytes + " bytes wanted"
                + " for " + occupant + ", " + s.allocated() + " allocated, "
                + s.reserved() + " reserved, cap " + s.cap());
        int rank = 1;
        for (String line : largest(10)) {
            m.fact("live " + rank++, line);
        }
        m.fix("close tensors earlier (Scope), use smaller batches, or raise the cap with Memory.setCap(" + device
                + ", bytes).");
        return new OutOfMemoryException(m, bytes, s.cap());
    }
}
