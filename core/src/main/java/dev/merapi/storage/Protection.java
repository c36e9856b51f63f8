// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.util.Arrays;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Keeps memory alive while a call may be using it, whichever thread closes it.
 *
 * <p>Note [Epochs]: a thread publishes the current epoch when a call begins and 0 when it ends. Whoever frees a block has
 * marked its storage closed before, then draws an epoch e and looks at all threads: if none is in a call that began at or
 * before e, nobody can have seen the storage open, and the block is reused at once; else it waits in limbo until those
 * calls end. A thread that begins a call publishes its epoch first and checks for closed tensors second, so one of the
 * two always sees the other. That costs one fence a call, where counting pins would cost an atomic pair per tensor.
 */
final class Protection {
    private static final AtomicLong EPOCH = new AtomicLong(1);
    private static final ReentrantLock LOCK = new ReentrantLock();
    private static final ReferenceQueue<Object> GONE = new ReferenceQueue<>();
    private static final ConcurrentLinkedQueue<Waiting> LIMBO = new ConcurrentLinkedQueue<>();

    private static volatile Registered[] threads = new Registered[0];
    private static volatile boolean pending;

    private Protection() {}

    private static final class Registered extends WeakReference<Object> {
        final ThreadState state;

        Registered(ThreadState state, Object lifetime) {
            super(lifetime, GONE);
            this.state = state;
        }
    }

    private record Waiting(long epoch, Block block) {}

    static long currentEpoch() {
        return EPOCH.get();
    }

    static void register(ThreadState state, Object lifetime) {
        LOCK.lock();
        try {
            Registered[] grown = Arrays.copyOf(withoutDead(), threads.length + 1);
            grown[threads.length] = new Registered(state, lifetime);
            threads = grown;
        } finally {
            LOCK.unlock();
        }
    }

    private static Registered[] withoutDead() {
        boolean any = false;
        for (Reference<?> r = GONE.poll(); r != null; r = GONE.poll()) {
            ((Registered) r).state.flush();
            any = true;
        }
        if (any) {
            threads = Arrays.stream(threads).filter(r -> !r.refersTo(null)).toArray(Registered[]::new);
        }
        return threads;
    }

    /** The oldest epoch that a call in progress began at; {@code Long.MAX_VALUE} without one. */
    private static long oldestActive() {
        long oldest = Long.MAX_VALUE;
        for (Registered r : threads) {
            long e = r.state.activeEpoch();
            if (e != 0 && e < oldest) {
                oldest = e;
            }
        }
        return oldest;
    }

    /** Frees blocks as soon as no call can be using them; their storages must be marked closed already. */
    static void retire(ThreadState state, Block[] blocks, int count) {
        if (count == 0) {
            return;
        }
        long epoch = EPOCH.getAndIncrement();
        boolean now = oldestActive() > epoch;
        for (int i = 0; i < count; i++) {
            if (now) {
                blocks[i].owner.free(blocks[i], state);
            } else {
                LIMBO.add(new Waiting(epoch, blocks[i]));
            }
        }
        if (!now) {
            pending = true;
            drainIfPending();
        }
    }

    /** As above for one block. */
    static void retire(ThreadState state, Block block) {
        long epoch = EPOCH.getAndIncrement();
        if (oldestActive() > epoch) {
            block.owner.free(block, state);
        } else {
            LIMBO.add(new Waiting(epoch, block));
            pending = true;
            drainIfPending();
        }
    }

    static void drainIfPending() {
        if (!pending || !LOCK.tryLock()) {
            return;
        }
        try {
            pending = false;
            long oldest = oldestActive();
            for (Waiting w = LIMBO.peek(); w != null; w = LIMBO.peek()) {
                if (w.epoch >= oldest) {
                    pending = true; // in order of epoch, nearly: the rest waits for the same call
                    return;
                }
                LIMBO.poll();
                w.block.owner.free(w.block, null);
            }
        } finally {
            LOCK.unlock();
        }
    }
}
