// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.tensor.Tensor;

/** Whether reading a device's memory, which waits for all work before it, needs a permission; see {@code Cuda}. */
public final class SilentSyncs {
    private static final ThreadLocal<Integer> ALLOWED = ThreadLocal.withInitial(() -> 0);
    private static volatile boolean refused;

    private SilentSyncs() {}

    /** For all threads, outside of {@link #allow}. */
    public static void refuse(boolean on) {
        refused = on;
    }

    /** Until the result is closed, this thread may wait. */
    public static ThreadMode allow() {
        ALLOWED.set(ALLOWED.get() + 1);
        return ThreadMode.begin(Context.current(), "allowSyncs", () -> ALLOWED.set(ALLOWED.get() - 1));
    }

    /** @throws CudaException if reading that tensor would be a wait that is refused */
    public static void require(Tensor read) {
        if (refused && ALLOWED.get() == 0) {
            throw new CudaException(
                    "cuda: reading " + read.describe() + " waits for the device, and silent waits are refused"
                            + "\n  fix: keep the value on the device, or read it inside of try (var wait = Cuda.allowSyncs()) {…}.");
        }
    }
}
