// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One line of a program.
 *
 * @param args {@link Ref}s, lists of them, {@link Here}, and plain values
 * @param first the number of the first tensor that it makes
 * @param count how many it makes
 */
record Step(Callee callee, List<@Nullable Object> args, int first, int count) {
    /** The tensors that it takes. */
    List<Ref> uses() {
        List<Ref> all = new ArrayList<>();
        for (Object a : args) {
            if (a instanceof Ref r) {
                all.add(r);
            } else if (a instanceof List<?> list) {
                for (Object e : list) {
                    if (e instanceof Ref r) {
                        all.add(r);
                    }
                }
            }
        }
        return all;
    }

    /** With another tensor where this takes one that {@code gone} makes. */
    Step using(Step gone, Ref other) {
        List<@Nullable Object> changed = new ArrayList<>();
        for (Object a : args) {
            if (a instanceof List<?> list) {
                List<@Nullable Object> elements = new ArrayList<>();
                list.forEach(e -> elements.add(e instanceof Ref r && gone.makes(r) ? other : e));
                changed.add(elements);
            } else {
                changed.add(a instanceof Ref r && gone.makes(r) ? other : a);
            }
        }
        return new Step(callee, changed, first, count);
    }

    boolean makes(Ref r) {
        return r.number() >= first && r.number() < first + count;
    }

    Step making(int tensors) {
        return new Step(callee, args, first, tensors);
    }

    Step with(Callee other) {
        return new Step(other, args, first, count);
    }
}
