// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Ordering;
import dev.merapi.ops.Searching;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
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

    /** By halves: how many elements of the row are less than each value, or, to the right, not more than it. */
    public static void searchSorted(Searching.SearchSorted a, Tensor out) {
        Elements sorted = Elements.of(a.sorted());
        Elements values = Elements.of(a.values());
        Elements to = Elements.of(out);
        long n = a.sorted().size(-1);
        long each = a.sorted().rank() == 1
                ? Math.max(1, values.numel())
                : a.values().size(-1);
        for (long i = 0; i < to.numel(); i++) {
            long start = i / each * n;
            long low = 0;
            long high = n;
            while (low < high) {
                long middle = (low + high) >>> 1;
                int c = compare(sorted, start + middle, values, i);
                if (c < 0 || a.right() && c == 0) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            to.setLong(i, low);
        }
    }

    private static int compare(Elements x, long i, Elements y, long k) {
        return x.dtype().isFloating()
                ? Double.compare(x.getDouble(i) + 0.0, y.getDouble(k) + 0.0)
                : Long.compare(x.getLong(i), y.getLong(k));
    }
}
