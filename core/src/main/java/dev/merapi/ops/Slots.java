// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** For arguments that are {@link dev.merapi.op.Slotted}. */
final class Slots {
    private Slots() {}

    /** The tensors of a list, in a new array; null if the list is absent, or one of its elements. */
    static Tensor @Nullable [] of(@Nullable List<Tensor> list) {
        Tensor[] all = list == null ? null : list.toArray(new Tensor[0]);
        for (int i = 0; all != null && i < all.length; i++) {
            if (all[i] == null) {
                return null;
            }
        }
        return all;
    }

    /** Whether scalars are there, and each of them. */
    static boolean isWhole(@Nullable List<Number> scalars) {
        if (scalars == null) {
            return false;
        }
        for (int i = 0, n = scalars.size(); i < n; i++) {
            if (scalars.get(i) == null) {
                return false;
            }
        }
        return true;
    }
}
