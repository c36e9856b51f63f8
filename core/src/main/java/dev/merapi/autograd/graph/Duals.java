// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The tangents of one variable: one for each level of forward mode in which it has one. Shared by all that stands for the
 * variable, what waits for backward included, so that a backward within forward mode finds them.
 */
final class Duals {
    /** What depends on the inputs in a way that only an op knows: its tangent is not zero, but nobody has it. */
    record Unknown(String op) {}

    /** @param tangent a tensor, or {@link Unknown} */
    private record Entry(
            ForwardMode.Level level,
            Object tangent,
            @Nullable Entry next) {}

    // One thread opens levels, and it alone reads and writes this; others only look who that is.
    private @Nullable Entry first;
    private @Nullable Source sources;

    /** What this was computed from by an op that does not say how. */
    private record Source(Duals from, String op, @Nullable Source next) {}

    /** Whether there is no tangent in any level. */
    boolean isEmpty() {
        return first == null;
    }

    /** Another thread than this one that has opened a level with a tangent of it; null if there is none. */
    @Nullable
    Thread otherThread() {
        for (Entry e = first; e != null; e = e.next) {
            if (e.level.owner != Thread.currentThread()) {
                return e.level.owner;
            }
        }
        return null;
    }

    /** A tensor, {@link Unknown}, or null for zero. */
    @Nullable
    Object at(ForwardMode.Level level) {
        for (Entry e = first; e != null; e = e.next) {
            if (e.level == level) {
                return e.tangent;
            }
        }
        for (Source s = sources; s != null; s = s.next) {
            if (s.from.at(level) != null) {
                return new Unknown(s.op);
            }
        }
        return null;
    }

    /** Marks what an op computed for its backward, from what has these tangents, or will have when the call is over. */
    void computedFrom(Duals from, String op) {
        if (from != this) {
            sources = new Source(from, op, sources);
        }
    }

    void put(ForwardMode.Level level, Object tangent) {
        first = new Entry(level, tangent, without(first, level));
        level.remember(this);
    }

    /** Lets go of the tangent of a level that has ended. */
    void drop(ForwardMode.Level level) {
        if (at(level) instanceof Tensor t) {
            t.close();
        }
        first = without(first, level);
    }

    /** Those of the levels outside of one: what a stand-in for the variable has within a rule of that level. */
    @Nullable
    Duals outside(ForwardMode.Level level) {
        Duals kept = new Duals();
        kept.sources = sources;
        for (Entry e = first; e != null; e = e.next) {
            if (e.level.depth < level.depth) {
                // Handles are those of the original, which lives longer.
                kept.first = new Entry(e.level, e.tangent, kept.first);
            }
        }
        return kept.first == null && kept.sources == null ? null : kept;
    }

    private static @Nullable Entry without(@Nullable Entry chain, ForwardMode.Level level) {
        if (chain == null) {
            return null;
        }
        Entry rest = without(chain.next, level);
        return chain.level == level ? rest : rest == chain.next ? chain : new Entry(chain.level, chain.tangent, rest);
    }
}
