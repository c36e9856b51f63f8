// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The floor under tensors that nobody closes: phantom references in striped lists, and a collection when more memory was
 * dropped than the garbage collector could know of.
 *
 * <p>Native memory does not press on the Java heap, so the collector alone comes too late. When the memory that is watched
 * has grown by a quarter of the device's cap since it was least, one {@code System.gc()} is asked for, and another when
 * memory runs out; never on a timer, and not so often that collecting takes more than a fifth of the time. What a
 * collection has found dead is freed by who asked for it, before it goes on: a reference says itself that it is cleared,
 * and need not come through its queue for that.
 */
public final class Backstop {
    private static final int STRIPES = 16;
    private static final long MIN_GROWTH = 256L << 20;
    /** A collection every so many times as long as the last one took, at most. */
    private static final int SPARSE = 4;

    private static final long LONGEST_PRESS_NANOS = 3_000_000_000L;
    private static final long LONGEST_CYCLE_NANOS = 500_000_000L;
    private static final int GARBAGE = 64 << 10;

    private static final ReferenceQueue<Object> DEAD = new ReferenceQueue<>();
    private static final Ref[] HEADS = new Ref[STRIPES];
    private static final AtomicLong freedByCollector = new AtomicLong();
    private static final ReentrantLock COLLECTING = new ReentrantLock();
    /** Held by the reclaimer from when it unlinks a reference to when its memory is free. */
    private static final ReentrantLock FREEING = new ReentrantLock();

    private static volatile long lastBegin = System.nanoTime();
    private static volatile long lastEnd = lastBegin;
    private static volatile long lastDuration;
    private static volatile boolean deaf;

    @SuppressWarnings("unused") // so that the garbage is made
    private static volatile byte @Nullable [] garbage;

    static {
        for (int i = 0; i < STRIPES; i++) {
            Ref head = new Ref(HEADS, null, null, null, i); // of an owner that never goes
            head.previous = head;
            head.next = head;
            HEADS[i] = head;
        }
        Thread reclaimer = new Thread(Backstop::reclaim, "merapi-reclaimer");
        reclaimer.setDaemon(true);
        reclaimer.start();
    }

    private Backstop() {}

    /** One watched owner; in a circular list so that it stays reachable. Never holds the owner itself. */
    static final class Ref extends PhantomReference<Object> {
        private final @Nullable MemoryBlock block;
        /** A share of this is what the owner held. */
        private final @Nullable Storage pinned;
        /** What is to be done about what is no memory of a device. */
        private final @Nullable Runnable action;

        private final int stripe;
        private @Nullable Ref previous;
        private @Nullable Ref next;

        Ref(
                Object owner,
                @Nullable MemoryBlock block,
                @Nullable Storage pinned,
                @Nullable Runnable action,
                int stripe) {
            super(owner, DEAD);
            this.action = action;
            this.block = block;
            this.pinned = pinned;
            this.stripe = stripe;
        }

        private long bytes() {
            return block != null ? block.size : Objects.requireNonNull(pinned).byteSize();
        }

        private CachingAllocator allocator() {
            return block != null ? block.owner : Objects.requireNonNull(pinned).allocator();
        }

        /** Counts what is watched; {@code sign} is 1 or −1. */
        private void count(int sign) {
            if (action == null) {
                allocator().watched.addAndGet(sign * bytes());
            }
        }

        /** The owner is unreachable. Not even an error of a device may end who calls this. */
        private void free() {
            if (action != null) {
                action.run();
                return;
            }
            freedByCollector.addAndGet(bytes());
            try {
                if (block != null) {
                    block.owner.free(block, null);
                } else {
                    Objects.requireNonNull(pinned).release(null);
                }
            } catch (Throwable e) {
                allocator().complainOnce(e);
            }
        }
    }

    /** Frees {@code block} when {@code owner} becomes unreachable. */
    static Ref watch(Object owner, MemoryBlock block) {
        return link(new Ref(owner, block, null, null, stripe()));
    }

    /** Releases a share of {@code storage}, which the caller has taken, when {@code owner} becomes unreachable. */
    static void pin(Object owner, Storage storage) {
        link(new Ref(owner, null, storage, null, stripe()));
    }

    /**
     * Runs {@code action} once, on some thread, when {@code owner} becomes unreachable: for what lives outside of the Java
     * heap and is no tensor's memory. The action must not hold the owner, nor throw.
     */
    public static void whenUnreachable(Object owner, Runnable action) {
        link(new Ref(owner, null, null, action, stripe()));
    }

    private static int stripe() {
        return (int) (Thread.currentThread().getId() & STRIPES - 1);
    }

    private static Ref link(Ref ref) {
        Ref head = HEADS[ref.stripe];
        synchronized (head) {
            Ref first = Objects.requireNonNull(head.next);
            ref.previous = head;
            ref.next = first;
            first.previous = ref;
            head.next = ref;
        }
        ref.count(1);
        return ref;
    }

    /** Stops watching; false if the block is gone already. */
    static boolean unwatch(Ref ref) {
        synchronized (HEADS[ref.stripe]) {
            if (!unlink(ref)) {
                return false;
            }
        }
        ref.count(-1);
        return true; // not cleared, which is a slow call: nothing leads to it any more, so it is never enqueued
    }

    private static boolean unlink(Ref ref) {
        Ref before = ref.previous;
        if (before == null) {
            return false;
        }
        Ref after = Objects.requireNonNull(ref.next);
        before.next = after;
        after.previous = before;
        ref.previous = null;
        ref.next = null;
        return true;
    }

    /** The reclaimer's thread; it lives as long as the process. */
    private static void reclaim() {
        while (true) {
            try {
                if (DEAD.remove() instanceof Ref ref) {
                    free(ref);
                }
            } catch (Throwable e) {
                // An interrupt, or no room in the Java heap even to log: there is always a next reference.
            }
        }
    }

    private static void free(Ref ref) {
        FREEING.lock();
        try {
            if (unwatch(ref)) {
                ref.free();
            }
        } finally {
            FREEING.unlock();
        }
    }

    /** Frees what the collector has found already, whether or not its references have come through the queue. */
    private static void sweep() {
        FREEING.lock(); // what the reclaimer has unlinked is free when this has been had
        FREEING.unlock();
        List<Ref> dead = new ArrayList<>();
        for (Ref head : HEADS) {
            synchronized (head) {
                Ref next = head.next;
                while (next != null && next != head) {
                    Ref ref = next;
                    next = ref.next;
                    if (ref.refersTo(null)) {
                        unlink(ref);
                        dead.add(ref);
                    }
                }
            }
        }
        for (Ref ref : dead) {
            ref.count(-1);
            ref.free();
        }
    }

    /** Asks for a collection if the memory of a device that only a collection can free has grown too much. */
    static void relieve(CachingAllocator allocator) {
        long growth = allocator.growth();
        long limit = Math.max(MIN_GROWTH, allocator.cap() / 4);
        if (growth < limit) {
            return;
        }
        boolean urgent = growth / 2 >= limit;
        if (!urgent && System.nanoTime() - lastEnd < SPARSE * lastDuration || COLLECTING.isHeldByCurrentThread()) {
            return;
        }
        if (urgent || !COLLECTING.isLocked()) { // who makes garbage faster than it goes waits for it
            collectNow();
            allocator.restGrowth();
        }
    }

    /** One collection; what it finds is freed when this returns. Shared by threads that ask for it at once. */
    public static void collectNow() {
        long asked = System.nanoTime();
        COLLECTING.lock();
        try {
            if (lastBegin - asked <= 0) { // else one has begun after this was asked for
                lastBegin = System.nanoTime();
                long freed = freedByCollector.get();
                WeakReference<Object> witness = new WeakReference<>(new Object());
                System.gc();
                deaf = !witness.refersTo(null);
                if (deaf) {
                    press(witness);
                    awaitCycle(freed);
                }
                lastEnd = System.nanoTime();
                lastDuration = lastEnd - lastBegin;
            }
            sweep();
        } finally {
            COLLECTING.unlock();
        }
        Protection.drainIfPending(null);
    }

    /** Where the JVM collects only when its heap is full, it is filled. Finds what was made lately, and not what is old. */
    private static void press(WeakReference<Object> witness) {
        long end = System.nanoTime() + LONGEST_PRESS_NANOS;
        long most = Runtime.getRuntime().maxMemory();
        for (long made = 0; made < most && !witness.refersTo(null) && System.nanoTime() < end; made += GARBAGE) {
            garbage = new byte[GARBAGE];
        }
        garbage = null;
    }

    /**
     * What is old is found by a collector that works beside the program (G1), which begins when the heap is rather full and
     * ends when it ends: waits until something more than {@code before} is freed.
     */
    private static void awaitCycle(long before) {
        long end = System.nanoTime() + LONGEST_CYCLE_NANOS;
        for (sweep(); freedByCollector.get() == before && System.nanoTime() < end; sweep()) {
            for (int i = 0; i < 16; i++) {
                garbage = new byte[GARBAGE];
            }
            LockSupport.parkNanos(1_000_000);
        }
        garbage = null;
    }

    /** True if the last {@code System.gc()} did nothing, as with {@code -XX:+DisableExplicitGC}. */
    static boolean isCollectorDeaf() {
        return deaf;
    }

    /** Bytes that were freed because their owner became unreachable, since the start. */
    public static long freedByCollector() {
        return freedByCollector.get();
    }
}
