// SPDX-License-Identifier: Apache-2.0
package dev.merapi.random;

import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import java.util.Objects;
import java.util.Set;
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
public final class Generator implements Stateful {
    private static final Generator GLOBAL = new Generator(0x6d65726170690001L);
    private static final long GOLDEN = 0x9e3779b97f4a7c15L;

    private final AtomicReference<Position> state;

    /**
     * Begins the sequence of a seed.
     *
     * @param seed any number; the same seed gives the same numbers on every device
     */
    public Generator(long seed) {
        state = new AtomicReference<>(new Position(seed, 0));
    }

    /**
     * The process's own, used where a thread has set none.
     *
     * @return one object, which threads share
     */
    public static Generator global() {
        return GLOBAL;
    }

    /**
     * Starts the sequence of another seed from its beginning; without effect in what is computed again for backward.
     *
     * @param newSeed any number
     */
    public void seed(long newSeed) {
        moveTo(new Position(newSeed, 0));
    }

    /** {@return the seed of the sequence} */
    public long seed() {
        return position().seed();
    }

    /**
     * Index of the next block that will be handed out.
     *
     * @return from 0; a block is 4 numbers of 32 bits
     */
    public long offset() {
        return position().offset();
    }

    /**
     * Reserves blocks; returns the seed and the index of the first.
     *
     * @param blocks how many
     * @return where they begin
     * @throws IllegalArgumentException for less than 0 blocks
     */
    public Position draw(long blocks) {
        if (blocks < 0) {
            throw new IllegalArgumentException("generator: cannot take " + blocks + " blocks");
        }
        DrawLog.Use use = DrawLog.current();
        return use == null ? advance(blocks) : use.draw(this, blocks);
    }

    /**
     * As {@link #draw}; returns the index of the first block, for a generator that nobody seeds meanwhile.
     *
     * @param blocks how many
     * @return the index
     */
    public long take(long blocks) {
        return draw(blocks).offset();
    }

    Position advance(long blocks) {
        return state.getAndUpdate(s -> new Position(s.seed(), s.offset() + blocks));
    }

    /**
     * An independent generator, determined by this one's state, which moves on.
     *
     * @return a new generator
     */
    public Generator split() {
        Position at = draw(1);
        return new Generator(mix(at.seed() + GOLDEN * (at.offset() + 1)));
    }

    /**
     * An independent generator, determined by this one's seed and these numbers; this one does not move.
     *
     * @param numbers such as an epoch and a worker
     * @return a new generator: the same for the same numbers
     */
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

    /** {@code seed} and {@code offset}, read together. */
    @Override
    public StateDict stateDict() {
        Position at = position();
        return new StateDict().put("seed", at.seed()).put("offset", at.offset());
    }

    /** Goes on from there; without effect in what is computed again for backward. */
    @Override
    public void loadStateDict(StateDict from) {
        Objects.requireNonNull(from, "from").requireNames("generator", Set.of("seed", "offset"));
        moveTo(new Position(from.get("seed", Long.class), from.get("offset", Long.class)));
    }

    /**
     * A place in a sequence: all that is needed to go on from there.
     *
     * @param seed of the sequence
     * @param offset index of the next block
     */
    public record Position(long seed, long offset) {}

    /** {@return seed and offset at one moment} */
    public Position position() {
        return Objects.requireNonNull(state.get());
    }

    /**
     * Goes on from there; without effect in what is computed again for backward.
     *
     * @param to a position, of this generator or another
     */
    public void moveTo(Position to) {
        if (!DrawLog.isReplaying()) {
            state.set(to);
        }
    }

    @Override
    public String toString() {
        Position s = position();
        return "Generator(seed " + s.seed() + ", offset " + s.offset() + ")";
    }
}
