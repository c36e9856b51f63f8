// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import org.jspecify.annotations.Nullable;

/** The right of a thread to use memory without looking whether it is there. It ends with the call that gave it. */
public final class Lease {
    private @Nullable Thread holder = Thread.currentThread();

    Lease() {}

    /** Whether the calling thread has this right now. Other threads read a racy field, but never themselves in it. */
    public boolean isHeld() {
        return holder == Thread.currentThread();
    }

    void end() {
        holder = null;
    }
}
