// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * A straight line of calls.
 *
 * @param seed what it was made from; its random numbers begin with it too
 */
record Program(long seed, List<Step> steps) {
    int tensors() {
        int n = 0;
        for (Step s : steps) {
            n = Math.max(n, s.first() + s.count());
        }
        return n;
    }

    /** Without step {@code i} and all that needs what it makes. */
    Program without(int i) {
        BitSet gone = new BitSet();
        List<Step> rest = new ArrayList<>(steps.subList(0, i));
        Step removed = steps.get(i);
        gone.set(removed.first(), removed.first() + removed.count());
        for (Step s : steps.subList(i + 1, steps.size())) {
            if (s.uses().stream().anyMatch(r -> gone.get(r.number()))) {
                gone.set(s.first(), s.first() + s.count());
            } else {
                rest.add(s);
            }
        }
        return new Program(seed, rest);
    }

    /** What step {@code i} makes is another tensor, from before it. */
    Program bypassing(int i, Ref other) {
        Step gone = steps.get(i);
        List<Step> rest = new ArrayList<>(steps.subList(0, i));
        steps.subList(i + 1, steps.size()).forEach(s -> rest.add(s.using(gone, other)));
        return new Program(seed, rest);
    }

    Program upTo(int end) {
        return new Program(seed, steps.subList(0, end));
    }

    Program with(int i, Step step) {
        List<Step> changed = new ArrayList<>(steps);
        changed.set(i, step);
        return new Program(seed, changed);
    }
}
