// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.error.Message;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.error.OverrunException;
import dev.merapi.memory.Mapping;
import dev.merapi.memory.MemoryStats;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.WeakHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/**
 * The caching allocator of a device: small requests are served by size class from lists that each {@link Slot} keeps,
 * large ones by best fit with split and merge; memory goes back to the device only on {@link #trim} or when it runs out.
 *
 * <p>Live memory decides what fits: before a request is refused, caches are emptied, calls that hold closed memory are
 * waited for, and the garbage collector is asked until it finds nothing any more.
 */
public final class CachingAllocator {
    private static final long PAGE = 4096;
    private static final long LARGE_UNIT = 2L << 20;
    /** A remainder below this is left with the block instead of being split off. */
    private static final long SPLIT = 64 << 10;
    /** Collections before a request is refused, though each found something: others take what is freed. */
    private static final int MOST_COLLECTIONS = 20;
    /** How long a request waits for calls of other threads to end that hold up memory. */
    private static final long PATIENCE_NANOS = 2_000_000_000L;

    private final Device device;
    private final RawAllocator raw;
    private final ReentrantLock lock = new ReentrantLock();
    /** Held while the device is asked for a segment, before {@link #lock}: meanwhile others may free. */
    private final ReentrantLock growing = new ReentrantLock();

    private final List<ArrayDeque<MemoryBlock>> classLists = new ArrayList<>();
    private final TreeSet<MemoryBlock> freeBlocks = new TreeSet<>(CachingAllocator::bySize);
    private final List<MemoryBlock> segmentHeads = new ArrayList<>();
    private final AtomicLong allocated = new AtomicLong();
    private final AtomicLong peak = new AtomicLong();
    /** Bytes that the backstop watches over: live, or garbage that waits for a collection. */
    final AtomicLong watched = new AtomicLong();
    /** The least that this was since the last collection. */
    private volatile long watchedLeast;

    private final Set<MemoryBlock> guarded = Collections.newSetFromMap(new IdentityHashMap<>());
    /** Of a pool: whose blocks its segments are. What is freed returns to a pool at once, not to a thread's cache. */
    private final @Nullable CachingAllocator parent;

    /** Of a pool that one stream takes memory from: that stream. Else the device's own is the home of all blocks. */
    private final @Nullable StreamOrder home;
    /** Of streams: when this runs out, what they have free goes back. Guarded by itself. */
    private final Set<CachingAllocator> streamPools = Collections.newSetFromMap(new WeakHashMap<>());

    private long reserved;
    /** How often blocks came back to the shared lists. */
    private long returned;
    /** Blocks that could not be ordered after their users: never handed out again. */
    private long lost;

    private volatile boolean complained;
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
        CachingAllocator pool = new CachingAllocator(device, new PoolMemory(this, occupant, home), this, home);
        if (home != null) {
            synchronized (streamPools) {
                streamPools.add(pool);
            }
        }
        return pool;
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

    /** A block for a pool, which itself does what {@link #recover} can; null if there is no room. */
    @Nullable
    MemoryBlock allocateSegment(long bytes, String occupant) {
        MemoryBlock block = bytes > cap ? null : take(large(bytes));
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
    MemoryBlock allocate(long bytes, ThreadState state, Object occupant, @Nullable DType dtype) {
        MemoryBlock block;
        if (isGuarded()) {
            block = allocateLarge(bytes, state);
        } else if (bytes <= SizeClasses.LARGEST) {
            int c = SizeClasses.of(bytes);
            block = state.held().take(this, c);
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

    /** Memory of pools belongs to recorded graphs, which use its addresses again: it is cut as ever. */
    private boolean isGuarded() {
        return Guard.ON && parent == null;
    }

    private void occupy(MemoryBlock block, Object occupant, @Nullable DType dtype) {
        block.occupant = occupant;
        block.dtype = dtype;
        block.origin = LeakDetection.origin();
        long now = allocated.addAndGet(block.size);
        if (now > peak.get()) {
            peak.accumulateAndGet(now, Math::max);
        }
    }

    private @Nullable MemoryBlock refill(int sizeClass, ThreadState state) {
        lock.lock();
        try {
            MemoryBlock block = classLists.get(sizeClass).poll();
            if (block != null) {
                return block;
            }
        } finally {
            lock.unlock();
        }
        long size = SizeClasses.size(sizeClass);
        // One page at least, so that small classes are carved by the page and not by the block.
        int count = (int) Math.max(1, Math.min(64, PAGE / size));
        MemoryBlock block = take(size * count);
        if (block == null) {
            block = recover(size, state);
            count = 1;
        }
        if (block == null) {
            return null;
        }
        lock.lock();
        try {
            for (int i = count - 1; i > 0; i--) {
                MemoryBlock piece = splitOff(block, size * i);
                piece.sizeClass = sizeClass;
                classLists.get(sizeClass).push(piece);
            }
            block.sizeClass = sizeClass;
            return block;
        } finally {
            lock.unlock();
        }
    }

    private @Nullable MemoryBlock allocateLarge(long bytes, @Nullable ThreadState state) {
        if (bytes > (parent == null ? cap : parent.cap) || bytes > Long.MAX_VALUE - 2 * LARGE_UNIT) {
            return null; // whatever is collected
        }
        long size = large(bytes);
        MemoryBlock block = take(size);
        return block != null ? block : recover(size, state);
    }

    private long large(long bytes) {
        return isGuarded() ? bytes : bytes + PAGE - 1 & -PAGE;
    }

    /** From the free blocks, else from a new segment; null if the cap or the device says no. */
    private @Nullable MemoryBlock take(long size) {
        if (isGuarded()) {
            return takeGuarded(size);
        }
        lock.lock();
        try {
            MemoryBlock block = cut(size);
            if (block != null) {
                return block;
            }
        } finally {
            lock.unlock();
        }
        growing.lock();
        try {
            return grow(size);
        } finally {
            growing.unlock();
        }
    }

    /** Best fit from the free blocks, or null. */
    private @Nullable MemoryBlock cut(long size) {
        MemoryBlock key = new MemoryBlock(this, new Segment(null, 0, 0), -1, size);
        MemoryBlock best = ceiling(key);
        if (best != null && best.segment.buffer() == null && raw.isJavaVisible() && size <= Integer.MAX_VALUE) {
            best = smallestWithView(best);
        }
        if (best != null) {
            freeBlocks.remove(best);
            cut(best, size);
        }
        return best;
    }

    private void cut(MemoryBlock block, long size) {
        block.free = false;
        if (block.size - size >= (size <= SizeClasses.LARGEST ? 64 : SPLIT)) {
            MemoryBlock rest = splitOff(block, size);
            rest.free = true;
            freeBlocks.add(rest);
        }
    }

    /** By size, then by place. Written out, as each request and each freed block walks the tree with it. */
    private static int bySize(MemoryBlock a, MemoryBlock b) {
        if (a.size != b.size) {
            return a.size < b.size ? -1 : 1;
        }
        if (a.segment != b.segment) {
            int order = Integer.compare(System.identityHashCode(a.segment), System.identityHashCode(b.segment));
            if (order != 0) {
                return order;
            }
        }
        return Long.compare(a.offset, b.offset);
    }

    private @Nullable MemoryBlock ceiling(MemoryBlock key) {
        MemoryBlock best = freeBlocks.ceiling(key);
        // The key's own place in the order among equal sizes is arbitrary; look for one just below it.
        MemoryBlock lower = freeBlocks.lower(key);
        return lower != null && lower.size == key.size ? lower : best;
    }

    /** Java kernels could not work on a small tensor in a huge segment, which has no Java view: those stay apart. */
    private @Nullable MemoryBlock smallestWithView(MemoryBlock from) {
        for (MemoryBlock block : freeBlocks.tailSet(from, true)) {
            if (block.segment.buffer() != null) {
                return block;
            }
        }
        return null;
    }

    /** From a new segment; null if the cap or the device says no. One thread at a time: the next finds what is left. */
    private @Nullable MemoryBlock grow(long size) {
        long usual = raw.segmentSize();
        long wanted = size >= usual / 2 ? (size + LARGE_UNIT - 1) / LARGE_UNIT * LARGE_UNIT : usual;
        lock.lock();
        try {
            MemoryBlock block = cut(size);
            if (block != null) {
                return block;
            }
        } finally {
            lock.unlock();
        }
        Segment segment = reserve(wanted) ? segment(wanted, wanted) : null;
        if (segment == null && wanted > size && reserve(size)) { // near the cap, take what is asked for and no more
            segment = segment(size, size);
        }
        if (segment == null) {
            return null;
        }
        lock.lock();
        try {
            MemoryBlock block = new MemoryBlock(this, segment, 0, segment.byteSize());
            segmentHeads.add(block);
            cut(block, size);
            return block;
        } finally {
            lock.unlock();
        }
    }

    private @Nullable MemoryBlock takeGuarded(long size) {
        long bytes = Guard.reserve(size);
        if (!reserve(bytes)) {
            return null;
        }
        MemoryBlock block = null;
        try {
            block = Guard.take(this, raw, size);
        } finally {
            lock.lock();
            try {
                if (block != null) {
                    guarded.add(block);
                } else {
                    reserved -= bytes;
                }
            } finally {
                lock.unlock();
            }
        }
        return block;
    }

    /** Takes a share of the cap. */
    private boolean reserve(long bytes) {
        lock.lock();
        try {
            if (bytes > cap - reserved) {
                return false;
            }
            reserved += bytes;
            return true;
        } finally {
            lock.unlock();
        }
    }

    /** Asks the device; what was reserved goes back if it has none. */
    private @Nullable Segment segment(long bytes, long reservedBytes) {
        Segment segment = null;
        try {
            segment = raw.allocate(bytes);
        } finally {
            if (segment == null) {
                lock.lock();
                try {
                    reserved -= reservedBytes;
                } finally {
                    lock.unlock();
                }
            }
        }
        return segment;
    }

    private MemoryBlock splitOff(MemoryBlock block, long size) {
        MemoryBlock rest = new MemoryBlock(this, block.segment, block.offset + size, block.size - size);
        block.size = size;
        rest.previous = block;
        rest.next = block.next;
        if (rest.next != null) {
            rest.next.previous = rest;
        }
        block.next = rest;
        return rest;
    }

    /** Out of room: tries again with all that is not live, and gives up when nothing comes back any more. */
    private @Nullable MemoryBlock recover(long size, @Nullable ThreadState state) {
        long deadline = System.nanoTime() + PATIENCE_NANOS;
        long before = -1;
        for (int collections = 0; ; ) {
            Protection.flushCaches(state);
            Protection.drainIfPending(state);
            boolean more = Protection.isHeldUp(state); // asked before the look, or what comes in between is missed
            long now = gather();
            MemoryBlock block = take(size);
            if (block != null) {
                return block;
            }
            if (collections < 2 || now != before && collections < MOST_COLLECTIONS) {
                before = now;
                collections++;
                Backstop.collectNow();
            } else if (more && System.nanoTime() < deadline) {
                LockSupport.parkNanos(200_000);
            } else {
                return null;
            }
        }
    }

    /** Caches become free blocks, and whole segments go back; says how often memory was returned so far. */
    private long gather() {
        long count = releaseFree();
        return parent == null ? count : count + parent.gather();
    }

    /** Those of streams first, as theirs is memory of this one: without the lock here, which they take within their own. */
    private long releaseFree() {
        List<CachingAllocator> pools;
        synchronized (streamPools) {
            pools = List.copyOf(streamPools);
        }
        long count = 0;
        for (CachingAllocator pool : pools) {
            count += pool.releaseFree();
        }
        lock.lock();
        try {
            mergeClassLists();
            if (parent == null
                    || home != null
                    || closed) { // a captured graph uses again what is free now, at each replay
                releaseFreeSegments();
            }
            return count + returned;
        } finally {
            lock.unlock();
        }
    }

    /** Takes a block back from its last owner. An error of the device stays here: nobody could make up for it. */
    void free(MemoryBlock block, @Nullable ThreadState state) {
        boolean ordered = true;
        StreamOrder[] users = block.users;
        if (users != null) {
            block.users = null;
            try {
                for (StreamOrder user : users) {
                    await(user);
                }
            } catch (RuntimeException | Error e) {
                ordered = false;
                lose(block, e);
            }
        }
        if (block instanceof Foreign foreign) {
            foreign.release();
            return;
        }
        allocated.addAndGet(-block.size);
        if (block instanceof Guard.Guarded) {
            freeGuarded(block, state);
            return;
        }
        block.occupant = null;
        block.dtype = null;
        block.origin = null;
        if (ordered
                && (block.sizeClass < 0
                        || state == null
                        || parent != null
                        || !state.held().offer(block))) {
            giveBack(block);
        }
    }

    /** Work may still use that memory: it stays out of use. */
    private void lose(MemoryBlock block, Throwable reason) {
        complainOnce(reason);
        lock.lock();
        try {
            lost += block.size;
        } finally {
            lock.unlock();
        }
    }

    /** A log line for the first error at freeing; the next ones say the same. */
    void complainOnce(Throwable reason) {
        if (!complained) {
            complained = true;
            LoggerFactory.getLogger("dev.merapi").error("{}: freed memory cannot be used again", device, reason);
        }
    }

    void complain(String what, Throwable reason) {
        LoggerFactory.getLogger("dev.merapi").error("{}: {}", device, what, reason);
    }

    private void freeGuarded(MemoryBlock block, @Nullable ThreadState state) {
        long bytes = Guard.reserve(((Guard.Guarded) block).wanted());
        String fault = Guard.give(raw, block);
        lock.lock();
        try {
            guarded.remove(block);
            reserved -= bytes;
            returned++;
        } finally {
            lock.unlock();
        }
        if (fault != null && state == null) {
            Guard.tellLater(fault);
        } else if (fault != null) {
            throw new OverrunException(fault);
        }
    }

    /** To the shared lists; the block is already accounted as free. */
    void giveBack(MemoryBlock block) {
        lock.lock();
        try {
            returned++;
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

    private void merge(MemoryBlock block) {
        MemoryBlock merged = block;
        MemoryBlock next = block.next;
        if (next != null && next.free) {
            freeBlocks.remove(next);
            absorbNext(merged);
        }
        MemoryBlock previous = block.previous;
        if (previous != null && previous.free) {
            freeBlocks.remove(previous);
            absorbNext(previous);
            merged = previous;
        }
        merged.free = true;
        merged.sizeClass = -1;
        freeBlocks.add(merged);
    }

    private static void absorbNext(MemoryBlock block) {
        MemoryBlock next = java.util.Objects.requireNonNull(block.next);
        block.size += next.size;
        block.next = next.next;
        if (block.next != null) {
            block.next.previous = block;
        }
    }

    private void mergeClassLists() {
        for (ArrayDeque<MemoryBlock> list : classLists) {
            for (MemoryBlock b = list.poll(); b != null; b = list.poll()) {
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
                try {
                    raw.free(head.segment);
                } catch (RuntimeException | Error e) { // gone all the same
                    complainOnce(e);
                }
            }
            return whole;
        });
    }

    /** Returns to the device all memory that is not in use, but for what calls in progress keep at hand. */
    public void trim(ThreadState state) {
        Protection.flushCaches(state);
        long unused = releaseFree();
    }

    public MemoryStats stats() {
        lock.lock();
        try {
            return new MemoryStats(allocated.get(), reserved, peak.get(), cap, live().size());
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

    /** How much more the backstop watches over than at the least since the last collection. */
    long growth() {
        long now = watched.get();
        if (now < watchedLeast) {
            watchedLeast = now;
        }
        return now - watchedLeast;
    }

    /** After a collection: what is left lives. */
    void restGrowth() {
        watchedLeast = watched.get();
    }

    /** See {@link RawAllocator#wrap(ByteBuffer)}. */
    public @Nullable Segment wrap(ByteBuffer buffer) {
        return raw.wrap(buffer);
    }

    /** See {@link RawAllocator#wrap(long, long)}. */
    public @Nullable Segment wrap(long address, long bytes) {
        return raw.wrap(address, bytes);
    }

    /** See {@link RawAllocator#map}. */
    public @Nullable Mapping map(Path file, long offset, long bytes) throws IOException {
        return raw.map(file, offset, bytes);
    }

    /** A buffer of its own over a part of a segment. */
    ByteBuffer view(Segment segment, int offset, int size) {
        return raw.view(segment, offset, size);
    }

    /** The largest live blocks, largest first, each a line: size, what it holds, and its origin if that is recorded. */
    public List<String> largest(int count) {
        lock.lock();
        try {
            List<MemoryBlock> live = live();
            live.sort(Comparator.comparingLong((MemoryBlock b) -> b.size).reversed());
            return live.stream().limit(count).map(CachingAllocator::describe).toList();
        } finally {
            lock.unlock();
        }
    }

    /** All blocks that are handed out. Looked for, not counted: a call pays for what each allocation counts. */
    private List<MemoryBlock> live() {
        List<MemoryBlock> live = new ArrayList<>(guarded);
        for (MemoryBlock head : segmentHeads) {
            for (MemoryBlock b = head; b != null; b = b.next) {
                if (b.occupant != null) {
                    live.add(b);
                }
            }
        }
        return live;
    }

    static String describe(MemoryBlock block) {
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
        if (lost > 0) {
            m.fact("lost", lost + " bytes, as the device does not order its work any more");
        }
        if (Backstop.isCollectorDeaf()) {
            m.fact(
                    "garbage collector",
                    "does not run when it is asked to (-XX:+DisableExplicitGC, or one that never collects): memory of"
                            + " dropped tensors may be waiting for it");
            m.fix("close tensors (Scope), or run without -XX:+DisableExplicitGC; with G1,"
                    + " -XX:+ExplicitGCInvokesConcurrent makes such collections short.");
        }
        m.fix("close tensors earlier (Scope), use smaller batches, or raise the cap with Memory.setCap(" + device
                + ", bytes).");
        return new OutOfMemoryException(m, bytes, s.cap());
    }
}
