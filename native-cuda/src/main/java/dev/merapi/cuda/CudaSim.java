// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.cuda.sim.SimSettings;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.types.DeviceType;

/**
 * How the simulator, device {@code cuda-sim}, runs kernels; for the whole process, from the next launch on.
 *
 * <p>With checks it stops at the first access that a GPU may or may not let pass: out of bounds, to memory that the kernel
 * may only read, of what nothing has written, misaligned, or in a race with another thread. The report names the tensor or
 * the {@code __shared__} variable, the thread, and the line of the source. Kernels are compiled a second time for it, and
 * run some twenty times slower. Without checks they cost nothing.
 */
public final class CudaSim {
    private CudaSim() {}

    /** Whether kernels can be simulated here: that takes a C++ compiler. Never throws. */
    public static boolean isAvailable() {
        return BackendChoice.isAvailable(DeviceType.CUDA_SIM);
    }

    /** Whether accesses are checked; at first what {@code -Dmerapi.cuda.sim.check} says, else not. */
    public static boolean checks() {
        return SimSettings.checks();
    }

    /** Switches the checks of accesses on or off. */
    public static void setChecks(boolean on) {
        SimSettings.setChecks(on);
    }

    /** See {@link #setOrder}; at first what {@code -Dmerapi.cuda.sim.order} says: forward, reverse, or a seed. */
    public static long order() {
        return SimSettings.order();
    }

    /**
     * In which order the threads of a block, and the blocks, run where the kernel does not say it: a kernel that misses a
     * barrier then gives other results.
     *
     * @param seed 0: by their numbers; −1: backwards; else at random, the same for the same seed
     */
    public static void setOrder(long seed) {
        SimSettings.setOrder(seed);
    }
}
