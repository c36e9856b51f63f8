// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The forward mode of an op that is linear in some arguments while the others are held: the op of the tangents, and the sum
 * of those where there are several such sets (the rule of products). Each tangent counts in the first set that has it.
 */
final class Linear<A extends Record, R> implements Jvp<A, R> {
    private final Op<A, R> op;
    private final List<Set<String>> sets;

    Linear(Op<A, R> op, List<Set<String>> sets) {
        this.op = op;
        this.sets = sets;
    }

    /** The names of each set; {@code "x, bias"} are two that are taken together. */
    static List<Set<String>> sets(String[] texts) {
        return Arrays.stream(texts)
                .map(text -> (Set<String>) new LinkedHashSet<>(
                        List.of(Objects.requireNonNull(text, "arguments").trim().split("\\s*,\\s*"))))
                .toList();
    }

    @Override
    public @Nullable R apply(A args, R result, Tangents<A> tangents) {
        @Nullable Tensor[] left = tangents.slots();
        @Nullable Tensor[] sum = new Tensor[op.result().tensors(op.name(), result).length];
        for (Set<String> set : sets) {
            boolean[] slots = tangents.slotsOf(set);
            boolean any = false;
            for (int i = 0; i < slots.length; i++) {
                any |= slots[i] && left[i] != null;
            }
            if (!any) {
                continue;
            }
            Tensor[] term = op.result().tensors(op.name(), op.call(tangents.inPlaceOf(slots, left)));
            for (int k = 0; k < sum.length; k++) {
                Tensor before = sum[k];
                if (term[k].dtype().isFloating()) {
                    sum[k] = before == null ? term[k] : before.add(term[k]);
                }
            }
            for (int i = 0; i < slots.length; i++) {
                left[i] = slots[i] ? null : left[i];
            }
        }
        return op.result().rebuild(result, sum);
    }

    @Override
    public String toString() {
        return "linear in " + sets;
    }
}
