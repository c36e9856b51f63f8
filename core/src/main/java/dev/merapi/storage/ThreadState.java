// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import org.jspecify.annotations.Nullable;

/**
 * What the memory layer knows of a thread: how deep in calls it is, and the {@link Slot} that it holds meanwhile. Used by
 * that thread only. A thread that ends leaves nothing behind that would have to be looked after.
 */
public final class ThreadState {
    private int depth;
    private @Nullable Slot slot;
    private @Nullable Lease lease;

    /** A call begins: no storage that is open now is freed before {@link #exit}. Nests. */
    public void enter() {
        if (depth++ == 0) {
            long epoch = Protection.currentEpoch();
            Slot s = slot;
            if (s == null || !s.claim(epoch)) {
                slot = Protection.claim(epoch);
            }
        }
    }

    /** Whether this thread is in one call and not in a call within another. */
    public boolean isOutermost() {
        return depth == 1;
    }

    /** The call ends. */
    public void exit() {
        if (depth > 1) {
            depth--;
            return;
        }
        if (lease != null) {
            lease.end();
            lease = null;
        }
        Slot s = held();
        try {
            if (Protection.isPending()) {
                s.endCall();
                Protection.drainIfPending(this);
            }
            if (s.flushRequested) {
                s.flush();
            }
        } finally {
            letGo();
        }
    }

    /** Holds a slot for handling memory outside of calls; false if there is no need to, as one is held already. */
    boolean hold() {
        if (depth > 0) {
            return false;
        }
        depth = 1;
        Slot s = slot;
        if (s == null || !s.claim(Slot.NO_CALL)) {
            slot = Protection.claim(Slot.NO_CALL);
        }
        return true;
    }

    /** Ends what {@link #hold} began. */
    void letGo() {
        depth = 0;
        held().release();
    }

    /** The slot that this thread holds now. */
    Slot held() {
        return java.util.Objects.requireNonNull(slot);
    }

    /** For those who use memory until this call ends; null outside of calls. Nested calls are one. */
    public @Nullable Lease lease() {
        if (lease == null && depth > 0) {
            lease = new Lease();
        }
        return lease;
    }
}
