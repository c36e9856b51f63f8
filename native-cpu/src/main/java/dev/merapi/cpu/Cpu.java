// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

/** Settings of the native CPU backend. */
public final class Cpu {
    private Cpu() {}

    /** Threads that large ops share, the caller's included. */
    public static int threads() {
        return Native.num_threads();
    }

    /** Sets {@link #threads()}, at any time. Results do not depend on it. */
    public static void setThreads(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("setThreads: " + threads + " must be at least 1");
        }
        Native.set_num_threads(threads);
    }

    /** The instruction set that kernels were chosen for: base, AVX2 or AVX-512. */
    public static String instructionSet() {
        return switch (Native.isa_level()) {
            case 2 -> "AVX-512";
            case 1 -> "AVX2";
            default -> "base";
        };
    }
}
