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
    /** For a layer, how many calls of layers were in progress when it was pushed; else as many as there may be. */
    private final int depth;

    /** Whether it belongs to work that is under way: then nothing from before is closed until it is over. */
    private final boolean work;

    private boolean closed;

    private ThreadMode(Context context, String name, int depth, boolean work, Runnable undo) {
        this.context = context;
        this.name = name;
        this.depth = depth;
        this.work = work;
        this.undo = undo;
        this.outer = context.mode();
    }

    /**
     * What has just been set on this thread.
     *
     * @param undo sets what was there before
     */
    public static ThreadMode begin(Context context, String name, Runnable undo) {
        return begin(new ThreadMode(context, name, Integer.MAX_VALUE, false, undo));
    }

    /** As {@link #begin}, for a layer: calls that it sees hold indices of the layers, which must not move meanwhile. */
    static ThreadMode ofLayer(Context context, String name, boolean work, Runnable undo) {
        return begin(new ThreadMode(context, name, context.depth(), work, undo));
    }

    private static ThreadMode begin(ThreadMode mode) {
        mode.context.setMode(mode);
        return mode;
    }

    /**
     * Sets what was there before. Idempotent.
     *
     * @throws IllegalStateException on another thread than the one that opened it, or if a call is in progress that began
     *     after this, or something opened after it, was opened, and that a layer sees; or if work of the engine that began
     *     after this, such as a {@code jvp}, is under way
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
        for (ThreadMode m = context.mode(); m != null; m = m == this ? null : m.outer) {
            if (context.depth() > m.depth) {
                throw new IllegalStateException(name + ": closed within a call that " + (m == this ? "it" : m.name)
                        + " sees" + "\n  fix: close it where it was opened, after the call.");
            }
            if (m.work && m != this) {
                throw new IllegalStateException(name + ": closed within " + m.name + ", which began after it"
                        + "\n  fix: close it where it was opened, after the " + m.name + ".");
            }
        }
        while (!closed) {
            ThreadMode inner = java.util.Objects.requireNonNull(context.mode());
            context.setMode(inner.outer);
            inner.closed = true;
            inner.undo.run();
        }
    }
}
