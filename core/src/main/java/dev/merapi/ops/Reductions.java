// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Arrays;

/** Reductions over any set of dimensions. */
public final class Reductions {
    private Reductions() {}

    /**
     * @param dims dimensions to reduce; empty for all
     * @param keepDim whether they stay, with size 1
     */
    public record Over(Tensor x, int[] dims, boolean keepDim) {}

    /** The shape after reducing. */
    static Shape reduced(Over a) {
        boolean[] mask = mask(a.x().shape(), a.dims());
        long[] sizes = new long[a.x().rank()];
        int n = 0;
        for (int d = 0; d < mask.length; d++) {
            if (!mask[d]) {
                sizes[n++] = a.x().size(d);
            } else if (a.keepDim()) {
                sizes[n++] = 1;
            }
        }
        return Shape.of(Arrays.copyOf(sizes, n));
    }

    /** Which dimensions are reduced. */
    static boolean[] mask(Shape shape, int[] dims) {
        boolean[] mask = new boolean[shape.rank()];
        if (dims.length == 0) {
            Arrays.fill(mask, true);
        }
        for (int d : dims) {
            int k = shape.normalize(d);
            if (shape.rank() > 0) {
                mask[k] = true;
            }
        }
        return mask;
    }

    public static final Op<Over, Tensor> SUM = Op.define("merapi::sum", Over.class, Tensor.class)
            .shape(a -> Tensor.meta(
                    reduced(a), a.x().dtype().isFloating() ? a.x().dtype() : DType.INT64, a.x().device()))
            .reference(Reductions::sum)
            .autograd((a, out) -> new Saved(a.x().shape(), a.dims()), (context, s, g) -> Grads.of("x", spread(s, g)))
            .register();

    /** The shape that was reduced, and over what. */
    public record Saved(Shape shape, int[] dims) {}

    /** The gradient of a sum: the same for all elements of a group. */
    private static Tensor spread(Saved s, Tensor g) {
        if (g.rank() == 0) {
            return g.expand(s.shape.toArray());
        }
        boolean[] mask = mask(s.shape, s.dims);
        long[] kept = s.shape.toArray();
        for (int d = 0; d < kept.length; d++) {
            kept[d] = mask[d] ? 1 : kept[d];
        }
        return g.reshape(kept).expand(s.shape.toArray());
    }

    private static void sum(Over a, Tensor out) {
        boolean[] mask = mask(a.x().shape(), a.dims());
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out);
        boolean floating = out.dtype().isFloating();
        double[] sums = new double[floating ? (int) out.numel() : 0];
        long[] longs = new long[floating ? 0 : (int) out.numel()];
        long n = a.x().numel();
        int rank = mask.length;
        for (long i = 0; i < n; i++) {
            long rest = i;
            long at = 0;
            long stride = 1;
            for (int d = rank - 1; d >= 0; d--) {
                long size = a.x().size(d);
                if (!mask[d]) {
                    at += rest % size * stride;
                    stride *= size;
                }
                rest /= size;
            }
            if (floating) {
                sums[(int) at] += x.getDouble(i);
            } else {
                longs[(int) at] += x.getLong(i);
            }
        }
        for (int i = 0; i < out.numel(); i++) {
            if (floating) {
                y.setDouble(i, sums[i]);
            } else {
                y.setLong(i, longs[i]);
            }
        }
    }
}
