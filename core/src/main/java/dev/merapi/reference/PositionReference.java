// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Factories;
import dev.merapi.ops.Rearranging;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;

/** Ops that look at where an element stands: triangles, reversed dimensions, ranges. */
public final class PositionReference {
    private PositionReference() {}

    public static void lower(Rearranging.Triangle a, Tensor out) {
        triangle(a, out, true);
    }

    public static void upper(Rearranging.Triangle a, Tensor out) {
        triangle(a, out, false);
    }

    private static void triangle(Rearranging.Triangle a, Tensor out, boolean lower) {
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out);
        long columns = out.size(-1);
        long rows = out.size(-2);
        for (long i = 0; i < y.numel(); i++) {
            long above = i % columns - i / columns % rows;
            boolean kept = lower ? above <= a.diagonal() : above >= a.diagonal();
            move(x, i, y, i, kept);
        }
    }

    private static void move(Elements from, long i, Elements to, long k, boolean kept) {
        if (to.dtype().isFloating()) {
            to.setDouble(k, kept ? from.getDouble(i) : 0);
        } else {
            to.setLong(k, kept ? from.getLong(i) : 0);
        }
    }

    public static void flip(Rearranging.Flip a, Tensor out) {
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out);
        Shape shape = out.shape();
        boolean[] flipped = new boolean[shape.rank()];
        for (int d : a.dims()) {
            if (flipped.length > 0) {
                flipped[shape.normalize(d)] = true;
            }
        }
        for (long i = 0; i < y.numel(); i++) {
            long from = 0;
            long rest = i;
            long stride = 1;
            for (int d = flipped.length - 1; d >= 0; d--) {
                long size = shape.size(d);
                long at = rest % size;
                from += (flipped[d] ? size - 1 - at : at) * stride;
                rest /= size;
                stride *= size;
            }
            move(x, from, y, i, true);
        }
    }

    public static void arange(Factories.Arange a, Tensor out) {
        Elements e = Elements.of(out);
        boolean exact = isIntegral(a.start()) && isIntegral(a.step());
        for (long i = 0; i < e.numel(); i++) {
            if (exact) {
                e.setLong(i, a.start().longValue() + i * a.step().longValue());
            } else {
                e.setDouble(i, a.start().doubleValue() + i * a.step().doubleValue());
            }
        }
    }

    private static boolean isIntegral(Number n) {
        return !(n instanceof Double || n instanceof Float);
    }

    public static void linspace(Factories.Linspace a, Tensor out) {
        Elements e = Elements.of(out);
        long n = a.count();
        double step = n > 1 ? (a.end() - a.start()) / (n - 1) : 0;
        for (long i = 0; i < n; i++) {
            // From the nearer end, so that the last element is the end exactly.
            e.setDouble(i, 2 * i < n ? a.start() + i * step : a.end() - (n - 1 - i) * step);
        }
    }
}
