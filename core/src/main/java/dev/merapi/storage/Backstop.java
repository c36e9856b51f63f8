// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * The floor under tensors that nobody closes: phantom references in striped lists, and a collection when more memory was
 * dropped than the garbage collector could know of.
 *
 * <p>Native memory does not press on the Java heap, so the collector alone comes too late. When unscoped allocation since
 * the last collection exceeds a limit, one {@code System.gc()} is asked for, at most once per {@value #GC_PAUSE_MILLIS} ms;
 * never in a loop, never on a timer.
 */
public final class Backstop {
    private static final int STRIPES = 16;
    private static final long GC_PAUSE_MILLIS = 500;
    private static final long MIN_GROWTH = 256L << 20;

    private static final ReferenceQueue<Object> DEAD = new ReferenceQueue<>();
    private static final Ref[] HEADS = new Ref[STRIPES];
    private static final AtomicLong grown = new AtomicLong();
    private static final AtomicLong freedByCollector = new AtomicLong();
    private static volatile WeakReference<Object> canary = new WeakReference<>(new Object());
    private static volatile long lastCollection = System.nanoTime() - GC_PAUSE_MILLIS * 1_000_000;

    static {
        for (int i = 0; i < STRIPES; i++) {
            Ref head = new Ref(new Object(), null, i);
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
        private final @Nullable Block block;
        private final int stripe;
        private @Nullable Ref previous;
        private @Nullable Ref next;

        Ref(Object owner, @Nullable Block block, int stripe) {
            super(owner, DEAD);
            this.block = block;
            this.stripe = stripe;
        }
    }

    /** Frees {@code block} when {@code owner} becomes unreachable. */
    static Ref watch(Object owner, Block block) {
        int stripe = (int) (Thread.currentThread().getId() & STRIPES - 1);
        Ref ref = new Ref(owner, block, stripe);
        Ref head = HEADS[stripe];
        synchronized (head) {
            Ref first = java.util.Objects.requireNonNull(head.next);
            ref.previous = head;
            ref.next = first;
            first.previous = ref;
            head.next = ref;
        }
        return ref;
    }

    /** Stops watching; false if the block is gone already. */
    static boolean unwatch(Ref ref) {
        synchronized (HEADS[ref.stripe]) {
            Ref before = ref.previous;
            if (before == null) {
                return false;
            }
            Ref after = java.util.Objects.requireNonNull(ref.next);
            before.next = after;
            after.previous = before;
            ref.previous = null;
            ref.next = null;
        }
        return true; // not cleared, which is a slow call: nothing leads to it any more, so it is never enqueued
    }

    private static void reclaim() {
        ThreadState state = new ThreadState(Thread.currentThread());
        while (true) {
            try {
                Reference<?> dead = DEAD.remove();
                if (dead instanceof Ref ref && ref.block != null && unwatch(ref)) {
                    freedByCollector.addAndGet(ref.block.size);
                    Protection.retire(state, ref.block);
                    state.flush();
                }
            } catch (InterruptedException e) {
                // Nobody has a reason to stop this thread while storages exist.
            }
        }
    }

    /** Accounts unscoped memory, and asks for a collection when much was taken since the last one. */
    static void grow(long bytes, long cap) {
        long total = grown.addAndGet(bytes);
        if (total < MIN_GROWTH || total < cap / 4) {
            return;
        }
        if (canary.refersTo(null)) { // a collection has happened meanwhile
            canary = new WeakReference<>(new Object());
            grown.set(0);
            return;
        }
        long now = System.nanoTime();
        if (now - lastCollection > GC_PAUSE_MILLIS * 1_000_000) {
            lastCollection = now;
            grown.set(0);
            collectNow();
        }
    }

    /** One collection and a bounded wait until its finds are freed. */
    public static void collectNow() {
        long before = freedByCollector.get();
        System.gc();
        long previous = -1;
        for (int i = 0; i < 20; i++) {
            LockSupport.parkNanos(2_000_000);
            long freed = freedByCollector.get();
            if (i >= 4 && freed == previous && (freed != before || i >= 9)) {
                break;
            }
            previous = freed;
        }
        Protection.drainIfPending();
    }

    /** Bytes that were freed because their owner became unreachable, since the start. */
    public static long freedByCollector() {
        return freedByCollector.get();
    }
}
