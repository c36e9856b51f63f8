// SPDX-License-Identifier: Apache-2.0
package dev.merapi.random;

import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Hands out disjoint ranges of one counter-based sequence: a seed, and the index of the next block of four 32-bit numbers.
 * A random op takes as many blocks as it needs and computes element i from (seed, first block, i) alone, so its numbers
 * do not depend on vector widths or devices.
 *
 * <p>Thread-safe: no two calls get the same range, and a seed and its offset are read together. Which of several threads
 * gets which range is up to them; so threads whose numbers must be the same in each run have generators of their own
 * ({@link #split}, {@link #foldIn}), as the batches of a data loader do. What is computed a second time for backward takes
 * the numbers of the first time, whatever was drawn since: {@link DrawLog}.
 */
public final class Generator {
    private static final Generator GLOBAL = new Generator(0x6d65726170690001L);
    private static final long GOLDEN = 0x9e3779b97f4a7c15L;

    private final AtomicReference<State> state;

    public Generator(long seed) {
        state = new AtomicReference<>(new State(seed, 0));
    }

    /** The process's own, used where a thread has set none. */
    public static Generator global() {
        return GLOBAL;
    }

    /** Starts the sequence of another seed from its beginning; without effect in what is computed again for backward. */
    public void seed(long newSeed) {
        restore(new State(newSeed, 0));
    }

    public long seed() {
        return state().seed();
    }

    /** Index of the next block that will be handed out. */
    public long offset() {
        return state().offset();
    }

    /**
     * Reserves blocks; returns the seed and the index of the first.
     *
     * @throws IllegalArgumentException for less than 0 blocks
     */
    public State draw(long blocks) {
        if (blocks < 0) {
            throw new IllegalArgumentException("generator: cannot take " + blocks + " blocks");
        }
        DrawLog.Use use = DrawLog.current();
        return use == null ? advance(blocks) : use.draw(this, blocks);
    }

    /** As {@link #draw}; returns the index of the first block, for a generator that nobody seeds meanwhile. */
    public long take(long blocks) {
        return draw(blocks).offset();
    }

    State advance(long blocks) {
        return state.getAndUpdate(s -> new State(s.seed(), s.offset() + blocks));
    }

    /** An independent generator, determined by this one's state, which moves on. */
    public Generator split() {
        State at = draw(1);
        return new Generator(mix(at.seed() + GOLDEN * (at.offset() + 1)));
    }

    /** An independent generator, determined by this one's seed and these numbers; this one does not move. */
    public Generator foldIn(long... numbers) {
        Objects.requireNonNull(numbers, "numbers");
        long z = seed();
        for (long n : numbers) {
            z = mix(z ^ mix(GOLDEN * (n + 1)));
        }
        return new Generator(z);
    }

    private static long mix(long z) { // SplitMix64's finaliser
        long a = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        long b = (a ^ a >>> 27) * 0x94d049bb133111ebL;
        return b ^ b >>> 31;
    }

    /** All that is needed to go on from here later. */
    public record State(long seed, long offset) {}

    public State state() {
        return Objects.requireNonNull(state.get());
    }

    /** Goes on from there; without effect in what is computed again for backward. */
    public void restore(State to) {
        if (!DrawLog.isReplaying()) {
            state.set(to);
        }
    }

    @Override
    public String toString() {
        State s = state();
        return "Generator(seed " + s.seed() + ", offset " + s.offset() + ")";
    }
}
