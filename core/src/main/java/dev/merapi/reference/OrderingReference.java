// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Ordering;
import dev.merapi.tensor.Elements;
import java.util.Arrays;
import java.util.Comparator;

/** Rows in order, by a stable sort of their indices. */
public final class OrderingReference {
    private OrderingReference() {}

    public static void topk(Ordering.TopK a, Ordering.Ordered out) {
        Elements x = Elements.of(a.x());
        Elements values = Elements.of(out.values());
        Elements indices = Elements.of(out.indices());
        int n = Math.toIntExact(a.x().rank() == 0 ? 1 : a.x().size(-1));
        long rows = n == 0 ? 0 : x.numel() / n;
        Integer[] order = new Integer[n];
        for (long r = 0; r < rows; r++) {
            long start = r * n;
            // Adding 0 makes −0 the same as 0.
            Comparator<Integer> rising = x.dtype().isFloating()
                    ? Comparator.comparingDouble(i -> x.getDouble(start + i) + 0.0)
                    : Comparator.comparingLong(i -> x.getLong(start + i));
            Arrays.setAll(order, i -> i);
            Arrays.sort(order, a.largest() ? rising.reversed() : rising);
            for (int i = 0; i < a.k(); i++) {
                long to = r * a.k() + i;
                if (x.dtype().isFloating()) {
                    values.setDouble(to, x.getDouble(start + order[i]));
                } else {
                    values.setLong(to, x.getLong(start + order[i]));
                }
                indices.setLong(to, order[i]);
            }
        }
    }
}
