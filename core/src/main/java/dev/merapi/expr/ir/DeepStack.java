// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Walks over expressions are recursive, so a deep one takes a deep stack: it gets a thread that has one. So the depth of an
 * expression has no limit but memory.
 */
public final class DeepStack {
    /** Of a derivative, too, any thread's stack holds so many levels. */
    private static final int SHALLOW = 250;

    /** Some frames a level; memory that the system gives only as far as it is touched. */
    private static final long BYTES_A_LEVEL = 4096;

    private DeepStack() {}

    private static final class Deep extends Thread {
        private final long levels;

        Deep(Runnable work, long levels) {
            super(null, work, "merapi-expression", (1 << 20) + levels * BYTES_A_LEVEL);
            this.levels = levels;
            setDaemon(true);
        }
    }

    /** What {@code f} gives, on a stack for that depth; its exceptions come through. */
    public static <T> T call(int depth, Supplier<T> f) {
        if (depth <= SHALLOW || Thread.currentThread() instanceof Deep deep && deep.levels >= depth) {
            return f.get();
        }
        AtomicReference<@Nullable T> result = new AtomicReference<>();
        AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
        Deep thread = new Deep(
                () -> {
                    try {
                        result.set(f.get());
                    } catch (RuntimeException | Error e) {
                        failure.set(e);
                    }
                },
                4L * depth); // what is made of it on the way, derivatives above all, is deeper than it is
        thread.start();
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        if (failure.get() instanceof Error e) {
            throw e;
        }
        if (failure.get() instanceof RuntimeException e) {
            throw e;
        }
        return java.util.Objects.requireNonNull(result.get());
    }
}
