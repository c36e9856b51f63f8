// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Keeps memory alive while a call may be using it, whichever thread closes it.
 *
 * <p>Note [Epochs]: a thread publishes the current epoch in a {@link Slot} when a call begins, and frees the slot when it
 * ends. Whoever frees a block has marked its storage closed before, then draws an epoch e and looks at all slots: if none
 * is in a call that began at or before e, nobody can have seen the storage open, and the block is reused at once; else it
 * waits in limbo until those calls end. A thread that begins a call publishes its epoch first and checks for closed
 * tensors second, so one of the two always sees the other. That costs one fence a call, where counting pins would cost an
 * atomic pair per tensor. A slot is held during calls only, so what is looked at grows with the calls that run at once
 * and not with threads.
 *
 * <p>Memory that the collector found has nobody left who could use it, and does not come here: a kernel's arguments and
 * results are held by the dispatcher, its temporaries by the scope around it, what Java reads by {@code Elements}.
 */
final class Protection {
    private static final int FEW = 32;

    private static final AtomicLong EPOCH = new AtomicLong(1);
    private static final ReentrantLock SLOTS = new ReentrantLock();
    private static final ReentrantLock DRAINING = new ReentrantLock();
    private static final ConcurrentLinkedQueue<Waiting> LIMBO = new ConcurrentLinkedQueue<>();

    private static volatile Slot[] slots = {};
    private static volatile boolean pending;
    private static int scans; // racy on purpose: it says when to look for idle slots, nearly

    private Protection() {}

    private record Waiting(long epoch, MemoryBlock block) {}

    static long currentEpoch() {
        return EPOCH.get();
    }

    // ---------------------------------------------------------------- slots

    /** A slot that nobody holds, or a new one. */
    static Slot claim(long epoch) {
        Slot[] all = slots;
        int start = all.length == 0 ? 0 : (int) (Thread.currentThread().getId() % all.length);
        for (int i = 0; i < all.length; i++) {
            Slot s = all[(start + i) % all.length];
            if (s.isIdle() && s.claim(epoch)) {
                return s;
            }
        }
        SLOTS.lock();
        try {
            for (Slot s : slots) {
                if (s.isIdle() && s.claim(epoch)) {
                    return s;
                }
            }
            Slot fresh = new Slot(epoch);
            Slot[] grown = Arrays.copyOf(slots, slots.length + 1);
            grown[slots.length] = fresh;
            slots = grown;
            return fresh;
        } finally {
            SLOTS.unlock();
        }
    }

    /** Whether all calls are over that began in this epoch or before. */
    static boolean isOver(long epoch) {
        return oldestActive() > epoch;
    }

    /** The oldest epoch that a call in progress began at; {@link Slot#NO_CALL} without one. */
    private static long oldestActive() {
        Slot[] all = slots;
        long oldest = Slot.NO_CALL;
        for (Slot s : all) {
            long e = s.epoch();
            if (e > 0 && e < oldest) {
                oldest = e;
            }
        }
        if (all.length > FEW && (++scans & 255) == 0) {
            dropIdle();
        }
        return oldest;
    }

    /** After a time of many calls at once: slots that nobody needs any more go. */
    private static void dropIdle() {
        if (!SLOTS.tryLock()) {
            return;
        }
        List<Slot> dropped = new ArrayList<>();
        try {
            Slot[] all = slots;
            int busy = 0;
            for (Slot s : all) {
                busy += s.isIdle() ? 0 : 1;
            }
            int wanted = Math.max(FEW, 2 * busy);
            if (all.length < 2 * wanted) {
                return;
            }
            List<Slot> kept = new ArrayList<>();
            for (Slot s : all) {
                (all.length - dropped.size() > wanted && s.retire() ? dropped : kept).add(s);
            }
            slots = kept.toArray(Slot[]::new);
        } finally {
            SLOTS.unlock();
        }
        dropped.forEach(Slot::flush);
    }

    /** Blocks that slots keep for their holders go back to the shared lists: at once, or when their holders let go. */
    static void flushCaches(@Nullable ThreadState state) {
        boolean held = state != null && state.hold();
        try {
            Slot own = state == null ? null : state.held();
            for (Slot s : slots) {
                if (s == own) {
                    s.flush();
                } else if (s.claim(Slot.NO_CALL)) {
                    try {
                        s.flush();
                    } finally {
                        s.release();
                    }
                } else {
                    s.flushRequested = true;
                }
            }
        } finally {
            if (held) {
                java.util.Objects.requireNonNull(state).letGo();
            }
        }
    }

    // ---------------------------------------------------------------- freeing

    /** Frees blocks as soon as no call can be using them; their storages must be marked closed already. */
    static void retire(@Nullable ThreadState state, MemoryBlock[] blocks, int count) {
        if (count == 0) {
            return;
        }
        boolean held = state != null && state.hold();
        try {
            long epoch = EPOCH.getAndIncrement();
            boolean now = oldestActive() > epoch;
            for (int i = 0; i < count; i++) {
                freeOrWait(state, blocks[i], epoch, now);
            }
            if (!now) {
                pending = true;
                drainIfPending(state);
            }
        } finally {
            if (held) {
                java.util.Objects.requireNonNull(state).letGo();
            }
        }
    }

    /** As above for one block. */
    static void retire(@Nullable ThreadState state, MemoryBlock block) {
        boolean held = state != null && state.hold();
        try {
            long epoch = EPOCH.getAndIncrement();
            boolean now = oldestActive() > epoch;
            freeOrWait(state, block, epoch, now);
            if (!now) {
                pending = true;
                drainIfPending(state);
            }
        } finally {
            if (held) {
                java.util.Objects.requireNonNull(state).letGo();
            }
        }
    }

    private static void freeOrWait(@Nullable ThreadState state, MemoryBlock block, long epoch, boolean now) {
        if (now) {
            block.owner.free(block, state);
        } else {
            LIMBO.add(new Waiting(epoch, block));
        }
    }

    /** Whether something waits for calls to end. */
    static boolean isPending() {
        return pending;
    }

    static void drainIfPending(@Nullable ThreadState state) {
        if (!pending || !DRAINING.tryLock()) {
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
                w.block.owner.free(w.block, state);
            }
        } finally {
            DRAINING.unlock();
        }
    }

    /**
     * Whether memory is on its way that calls of other threads hold up: closed under them, in their caches, or taken out of
     * limbo and not free yet.
     */
    static boolean isHeldUp(@Nullable ThreadState state) {
        if (DRAINING.isLocked()) {
            return true;
        }
        Slot own = state == null ? null : state.held();
        long mine = own == null ? Slot.NO_CALL : own.epoch();
        for (Slot s : slots) {
            if (s != own && s.flushRequested && !s.isIdle()) {
                return true;
            }
        }
        Waiting first = LIMBO.peek();
        return first != null && first.epoch < mine; // else it is the caller's own call that it waits for
    }
}
