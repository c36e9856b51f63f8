// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.util.function.LongFunction;

/**
 * The kernels that a device was given last, for the message of a fault, which shows at a later call. Racy on purpose: it
 * is written at every launch, and two threads that launch at once may lose an entry, or mix two.
 */
final class LaunchLog {
    private static final int KEPT = 8; // a power of two

    private final LongFunction<String> names;
    private final String[] ops = new String[KEPT];
    private final long[] functions = new long[KEPT];
    private final CudaRuntime.Grid[] grids = new CudaRuntime.Grid[KEPT];
    private int count;

    /** @param names of functions */
    LaunchLog(LongFunction<String> names) {
        this.names = names;
    }

    void add(String op, long function, CudaRuntime.Grid grid) {
        int at = count++ & KEPT - 1;
        ops[at] = op;
        functions[at] = function;
        grids[at] = grid;
    }

    /** A line each, the newest first. */
    String facts() {
        int all = count;
        StringBuilder lines = new StringBuilder(all == 0 ? "" : "\n  kernels launched last, the newest first:");
        for (int i = all - 1; i >= Math.max(0, all - KEPT); i--) {
            int at = i & KEPT - 1;
            CudaRuntime.Grid g = grids[at];
            lines.append("\n    ").append(ops[at]).append(": kernel ").append(names.apply(functions[at]));
            if (g != null) {
                lines.append(", grid (%d, %d, %d), block (%d, %d, %d)"
                        .formatted(g.x(), g.y(), g.z(), g.blockX(), g.blockY(), g.blockZ()));
            }
        }
        return lines.toString();
    }
}
