// SPDX-License-Identifier: Apache-2.0
package dev.merapi.random;

import java.util.concurrent.atomic.AtomicLong;

/**
 * Hands out disjoint ranges of one counter-based sequence: a seed, and the index of the next block of four 32-bit numbers.
 * A random op takes as many blocks as it needs and computes element i from (seed, first block, i) alone, so its numbers
 * do not depend on threads, vector widths or devices. Thread-safe; the state is two numbers.
 */
public final class Generator {
    private static final Generator GLOBAL = new Generator(0x6d65726170690001L);

    private volatile long seed;
    private final AtomicLong next = new AtomicLong();

    public Generator(long seed) {
        this.seed = seed;
    }

    /** The process's own, used where a thread has set none. */
    public static Generator global() {
        return GLOBAL;
    }

    /** Starts the sequence of another seed from its beginning. */
    public void seed(long newSeed) {
        seed = newSeed;
        next.set(0);
    }

    public long seed() {
        return seed;
    }

    /** Index of the next block that will be handed out. */
    public long offset() {
        return next.get();
    }

    /** Reserves blocks; returns the index of the first. */
    public long take(long blocks) {
        return next.getAndAdd(blocks);
    }

    /** An independent generator, determined by this one's state, which moves on. */
    public Generator split() {
        long at = take(1);
        long z = seed + 0x9e3779b97f4a7c15L * (at + 1); // SplitMix64's finaliser
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return new Generator(z ^ z >>> 31);
    }

    /** All that is needed to go on from here later. */
    public record State(long seed, long offset) {}

    public State state() {
        return new State(seed, next.get());
    }

    public void restore(State state) {
        seed = state.seed();
        next.set(state.offset());
    }

    @Override
    public String toString() {
        return "Generator(seed " + seed + ", offset " + next + ")";
    }
}
