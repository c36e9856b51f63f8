// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import org.jspecify.annotations.Nullable;

/**
 * Something that is set on a thread until this is closed. Modes end in the order opposite to that in which they were
 * opened: one that is closed too early ends those that were opened after it, too, so that the thread is always left as it
 * was before.
 */
public final class ThreadMode implements AutoCloseable {
    private final Context context;
    private final String name;
    private final @Nullable ThreadMode outer;
    private final Runnable undo;
    private boolean closed;

    private ThreadMode(Context context, String name, Runnable undo) {
        this.context = context;
        this.name = name;
        this.undo = undo;
        this.outer = context.mode();
    }

    /**
     * What has just been set on this thread.
     *
     * @param undo sets what was there before
     */
    public static ThreadMode begin(Context context, String name, Runnable undo) {
        ThreadMode mode = new ThreadMode(context, name, undo);
        context.setMode(mode);
        return mode;
    }

    /**
     * Sets what was there before. Idempotent.
     *
     * @throws IllegalStateException on another thread than the one that opened it
     */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        if (Context.current() != context) {
            throw new IllegalStateException(
                    name + ": closed by thread " + Thread.currentThread().getName()
                            + ", but another one opened it\n  fix: open and close a mode on one thread.");
        }
        while (!closed) {
            ThreadMode inner = java.util.Objects.requireNonNull(context.mode());
            context.setMode(inner.outer);
            inner.closed = true;
            inner.undo.run();
        }
    }
}
