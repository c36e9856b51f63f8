// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C, and what a scheduler sends before it kills a process (SIGINT, SIGTERM), as a question that a training loop asks after each
 * step: it can finish the step and save. The process ends when this is closed, or after ten minutes.
 *
 * <pre>{@code
 * try (StopSignal stop = StopSignal.listen()) {
 *     for (long step = 0; step < steps && !stop.isRequested(); step++) { … }
 *     checkpoints.save(…);
 * }
 * }</pre>
 */
public final class StopSignal implements AutoCloseable {
    private static final long PATIENCE_MINUTES = 10;

    private final CountDownLatch done = new CountDownLatch(1);
    private final Thread hook = new Thread(this::await, "merapi-stop");
    private volatile boolean requested;

    private StopSignal() {}

    /** {@return one that listens until it is closed} */
    public static StopSignal listen() {
        StopSignal signal = new StopSignal();
        Runtime.getRuntime().addShutdownHook(signal.hook);
        return signal;
    }

    private void await() {
        requested = true;
        try {
            if (!done.await(PATIENCE_MINUTES, TimeUnit.MINUTES)) {
                System.err.println("merapi: the step that was to be the last one has not ended; the process ends now");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** {@return whether the process was asked to end} */
    public boolean isRequested() {
        return requested;
    }

    /** Everything is saved: the process may end, if it was asked to. */
    @Override
    public void close() {
        done.countDown();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // the process is ending already: that is what the hook has waited for
        }
    }
}
