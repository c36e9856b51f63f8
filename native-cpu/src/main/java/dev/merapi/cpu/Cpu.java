// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import org.jspecify.annotations.Nullable;

/** Settings of the native CPU backend. */
public final class Cpu {
    static final String THREADS = "merapi.cpu.threads";
    static final String THREADS_VARIABLE = "MERAPI_CPU_THREADS";

    private Cpu() {}

    /**
     * Threads that large ops share, the caller's included. At first what {@code -Dmerapi.cpu.threads} says, or else the
     * environment's {@code MERAPI_CPU_THREADS}; without either, as many as this process has processors, by affinity and by
     * the container's quota.
     */
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

    /**
     * What was asked for when the process was started; 0 for nothing.
     *
     * @throws DeviceException if that is no number of threads
     */
    static int wanted(@Nullable String property, @Nullable String variable) {
        String text = property != null ? property : variable;
        if (text == null || text.isBlank()) {
            return 0;
        }
        try {
            int threads = Integer.parseInt(text.strip());
            if (threads >= 1) {
                return threads;
            }
        } catch (NumberFormatException e) {
            // said below
        }
        throw new DeviceException(
                Message.of("cpu: " + (property != null ? "-D" + THREADS + "=" : THREADS_VARIABLE + "=") + text
                                + " is no number of threads")
                        .fix("a whole number, at least 1; or leave it out."));
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
