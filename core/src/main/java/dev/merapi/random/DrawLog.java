// SPDX-License-Identifier: Apache-2.0
package dev.merapi.random;

import dev.merapi.error.Message;
import dev.merapi.error.SavedTensorException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The ranges that a thread takes from generators while something runs, whichever generators they are. Replayed, the same
 * calls get the same ranges again, and no generator moves: so what is computed a second time for backward has the numbers
 * of the first time, whatever other threads, or this one, drew or seeded in between.
 */
public final class DrawLog {
    private static final ThreadLocal<@Nullable Use> CURRENT = new ThreadLocal<>();

    private record Taken(long blocks, Generator.Position from) {}

    private final List<Taken> taken = new ArrayList<>(2);

    /**
     * What this thread takes is noted until the use is closed.
     *
     * @return what ends it, to be closed by this thread
     */
    public Use record() {
        return new Use(this, -1);
    }

    /**
     * What this thread takes is what was noted, from the first range on, until the use is closed.
     *
     * @return what ends it, to be closed by this thread
     */
    public Use replay() {
        return new Use(this, 0);
    }

    /**
     * Until the use is closed nothing is taken, except where {@link Use#except} says so: a draw throws what {@code refusal}
     * gives, and no generator moves. What is computed for the second time takes its numbers all the same.
     *
     * @param refusal makes the exception
     * @return what ends it, to be closed by this thread
     */
    public static Use refuse(Supplier<? extends RuntimeException> refusal) {
        return new Use(new DrawLog(), -1, refusal);
    }

    /**
     * Whether this thread computes something for the second time.
     *
     * @return true within {@link #replay}
     */
    public static boolean isReplaying() {
        for (Use use = CURRENT.get(); use != null; use = use.outer) {
            if (use.next >= 0) {
                return true;
            }
        }
        return false;
    }

    static @Nullable Use current() {
        return CURRENT.get();
    }

    /** A log in use on one thread; uses nest. */
    public static final class Use implements AutoCloseable {
        private final DrawLog log;
        private final @Nullable Use outer = CURRENT.get();
        private int next; // −1 while recording

        private final @Nullable Supplier<? extends RuntimeException> refusal;
        private boolean suspended;

        private Use(DrawLog log, int next) {
            this(log, next, null);
        }

        private Use(DrawLog log, int next, @Nullable Supplier<? extends RuntimeException> refusal) {
            this.log = log;
            this.next = next;
            this.refusal = refusal;
            CURRENT.set(this);
        }

        /**
         * Takes numbers from a generator although this refuses it to others.
         *
         * @param generator any
         * @param blocks how many are taken, at least 0
         * @return the seed, and the index of the first block
         */
        public Generator.Position except(Generator generator, long blocks) {
            suspended = true;
            try {
                return generator.draw(blocks);
            } finally {
                suspended = false;
            }
        }

        Generator.Position draw(Generator generator, long blocks) {
            if (refusal != null && !suspended) {
                throw refusal.get();
            }
            if (next < 0) {
                Generator.Position from = outer == null ? generator.advance(blocks) : outer.draw(generator, blocks);
                if (refusal == null) {
                    log.taken.add(new Taken(blocks, from));
                }
                return from;
            }
            Taken t = next < log.taken.size() ? log.taken.get(next) : null;
            if (t == null || t.blocks != blocks) {
                throw new SavedTensorException(Message.of(
                                "recomputation: random numbers are taken in another way the second time")
                        .fact("forward call", t == null ? "took " + next + " times" : "took " + t.blocks + " blocks")
                        .fact("run again", "takes " + blocks + " blocks, as take " + (next + 1))
                        .fix("the part must do the same each time; no state may change in it."));
            }
            next++;
            return t.from;
        }

        @Override
        public void close() {
            if (outer == null) {
                CURRENT.remove();
            } else {
                CURRENT.set(outer);
            }
        }
    }
}
