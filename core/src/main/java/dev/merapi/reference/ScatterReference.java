// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.ops.Scattering.ScatterReduce;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;

/** Values that meet at an element, reduced in float64 or int64 and rounded once. */
public final class ScatterReference {
    private ScatterReference() {}

    public static void scatterReduce(ScatterReduce a, Tensor out) {
        IndexingReference.Around x = IndexingReference.Around.of(out.shape(), a.dim());
        IndexingReference.Around s = IndexingReference.Around.of(a.src().shape(), a.dim());
        long[] index = IndexingReference.checked("scatter_reduce", a.index(), x.n());
        long[] targets = new long[index.length];
        for (long o = 0; o < s.outer(); o++) {
            for (long j = 0; j < s.n(); j++) {
                for (long i = 0; i < s.inner(); i++) {
                    long k = s.at(o, j, i);
                    targets[(int) k] = x.at(o, index[(int) k], i);
                }
            }
        }
        Elements own = Elements.of(a.x());
        Elements from = Elements.of(a.src());
        Elements to = Elements.of(out);
        long[] count = new long[Math.toIntExact(to.numel())];
        if (a.includeSelf()) {
            Arrays.fill(count, 1);
        }
        if (out.dtype().isFloating()) {
            floats(a.reduce(), own, from, to, targets, count);
        } else {
            integers(a.reduce(), own, from, to, targets, count);
        }
    }

    private static void floats(Reduce reduce, Elements own, Elements from, Elements to, long[] targets, long[] count) {
        double[] all = new double[count.length];
        for (int i = 0; i < all.length; i++) {
            all[i] = own.getDouble(i);
        }
        for (int k = 0; k < targets.length; k++) {
            int t = (int) targets[k];
            double value = from.getDouble(k);
            all[t] = count[t]++ == 0
                    ? value
                    : switch (reduce) {
                        case SUM, MEAN -> all[t] + value;
                        case PROD -> all[t] * value;
                        case AMAX -> Math.max(all[t], value);
                        case AMIN -> Math.min(all[t], value);
                    };
        }
        for (int i = 0; i < all.length; i++) {
            to.setDouble(i, reduce == Reduce.MEAN && count[i] > 1 ? all[i] / count[i] : all[i]);
        }
    }

    private static void integers(
            Reduce reduce, Elements own, Elements from, Elements to, long[] targets, long[] count) {
        long[] all = new long[count.length];
        for (int i = 0; i < all.length; i++) {
            all[i] = own.getLong(i);
        }
        for (int k = 0; k < targets.length; k++) {
            int t = (int) targets[k];
            long value = from.getLong(k);
            all[t] = count[t]++ == 0
                    ? value
                    : switch (reduce) {
                        case SUM, MEAN -> all[t] + value;
                        case PROD -> all[t] * value;
                        case AMAX -> Math.max(all[t], value);
                        case AMIN -> Math.min(all[t], value);
                    };
        }
        for (int i = 0; i < all.length; i++) {
            to.setLong(i, reduce == Reduce.MEAN && count[i] > 1 ? Math.floorDiv(all[i], count[i]) : all[i]);
        }
    }
}
