// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.runtime.CudaRuntime;
import java.util.function.LongFunction;

/**
 * The kernels, products and graphs that a device was given last, for the message of a fault, which shows at a later call.
 * Racy on purpose: it is written at every launch, and two threads that launch at once may lose an entry, or mix two.
 */
public final class LaunchLog {
    private static final int KEPT = 8; // a power of two

    private final LongFunction<String> names;
    private final String[] ops = new String[KEPT];
    private final long[] functions = new long[KEPT];
    private final Record[] shapes = new Record[KEPT];
    private int count;

    /** A product of a library, for which there is no function. */
    record Product(long m, long n, long k) {}

    /** A replay, likewise. */
    record Replay(long nodes) {}

    /** @param names of functions */
    LaunchLog(LongFunction<String> names) {
        this.names = names;
    }

    /** @param shape the grid of a kernel, or what else it was; it must hold no tensor */
    void add(String op, long function, Record shape) {
        int at = count++ & KEPT - 1;
        ops[at] = op;
        functions[at] = function;
        shapes[at] = shape;
    }

    /** A line each, the newest first. */
    String facts() {
        int all = count;
        StringBuilder lines = new StringBuilder(all == 0 ? "" : "\n  kernels launched last, the newest first:");
        for (int i = all - 1; i >= Math.max(0, all - KEPT); i--) {
            int at = i & KEPT - 1;
            lines.append("\n    ").append(ops[at]).append(": ");
            if (shapes[at] instanceof CudaRuntime.Grid g) {
                lines.append("kernel ")
                        .append(names.apply(functions[at]))
                        .append(", grid (%d, %d, %d), block (%d, %d, %d)"
                                .formatted(g.x(), g.y(), g.z(), g.blockX(), g.blockY(), g.blockZ()));
            } else {
                lines.append(shapes[at]);
            }
        }
        return lines.toString();
    }
}
