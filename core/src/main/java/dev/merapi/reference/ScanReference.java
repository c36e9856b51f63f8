// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;

/** Running sums, in float64 or long. */
public final class ScanReference {
    private ScanReference() {}

    public static void cumsum(Reductions.CumSum a, Tensor out) {
        Tensor x = a.x();
        Rows rows = Rows.of(x.shape(), x.shape().normalize(a.dim()));
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        boolean floating = out.dtype().isFloating();
        for (long r = 0; r < rows.count(); r++) {
            double sum = 0;
            long total = 0;
            for (long j = 0; j < rows.length(); j++) {
                long i = rows.index(r, j);
                if (floating) {
                    sum += from.getDouble(i);
                    to.setDouble(i, sum);
                } else {
                    total += from.getLong(i);
                    to.setLong(i, total);
                }
            }
        }
    }
}
