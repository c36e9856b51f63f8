// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Interpolation one dimension after the other: rows that are looked up, and weighed. Places are computed in float64 on the
 * tensor's device; small floats are interpolated in float32.
 */
final class Resizing {
    /** How far cubic curves bend, as everywhere. */
    private static final double BEND = -0.75;

    private Resizing() {}

    static Tensor resize(Tensor x, long[] size, double @Nullable [] scale, Interpolation mode, boolean align) {
        Objects.requireNonNull(mode, "mode");
        PoolingForms.require("interpolate", x, size);
        Softmax.requireFloating("interpolate", x);
        for (int i = 0; i < size.length; i++) {
            if (size[i] < 1 || x.size(2 + i) < 1) {
                throw new ShapeException("interpolate: dimension " + (2 + i) + " cannot go from " + x.size(2 + i)
                        + " elements to " + size[i] + "\n  x: " + x.describe());
            }
        }
        if (mode == Interpolation.AREA) {
            return AdaptivePooling.average(x, size);
        }
        Tensor y = x.to(x.dtype().computeType());
        for (int d = size.length - 1; d >= 0; d--) {
            long n = x.size(2 + d);
            double ratio = scale != null ? 1 / scale[d] : (double) n / size[d];
            // Straight lines stay as they are where the size does, whatever the factor: as in PyTorch.
            if (n != size[d] || ratio != 1 && mode != Interpolation.LINEAR) {
                y = along(y, 2 + d, size[d], ratio, mode, align);
            }
        }
        return y == x ? x.copy() : y.to(x.dtype());
    }

    private static Tensor along(Tensor x, int dim, long m, double ratio, Interpolation mode, boolean align) {
        long n = x.size(dim);
        Tensor i = Reductions.count(x, m).to(DType.FLOAT64);
        if (mode == Interpolation.NEAREST || mode == Interpolation.NEAREST_EXACT) {
            double shift = mode == Interpolation.NEAREST ? 0 : 0.5;
            return x.indexSelect(dim, within(i.add(shift).mul(ratio).floor(), n));
        }
        Tensor place = align
                ? i.mul(m > 1 ? (double) (n - 1) / (m - 1) : 0)
                : i.add(0.5).mul(ratio).sub(0.5);
        if (mode == Interpolation.LINEAR) {
            place = place.clampMin(0);
            Tensor first = place.floor();
            Tensor weight = beside(place.sub(first), x, dim);
            return x.indexSelect(dim, within(first, n)).lerp(x.indexSelect(dim, within(first.add(1), n)), weight);
        }
        Tensor first = place.floor();
        Tensor t = place.sub(first);
        List<Tensor> weights = cubic(t);
        Tensor sum = null;
        for (int k = 0; k < 4; k++) {
            Tensor row = x.indexSelect(dim, within(first.add(k - 1), n));
            Tensor weight = beside(weights.get(k), x, dim);
            sum = sum == null ? row.mul(weight) : sum.addcmul(row, weight, 1);
        }
        return Objects.requireNonNull(sum);
    }

    /** The weights of four neighbours, for places between the second and the third. */
    static List<Tensor> cubic(Tensor t) {
        Tensor rest = t.rsub(1);
        return List.of(outer(t), inner(t), inner(rest), outer(rest));
    }

    private static Tensor inner(Tensor t) {
        return t.mul(BEND + 2).sub(BEND + 3).mul(t).mul(t).add(1);
    }

    private static Tensor outer(Tensor t) {
        Tensor u = t.add(1);
        return u.mul(BEND).sub(5 * BEND).mul(u).add(8 * BEND).mul(u).sub(4 * BEND);
    }

    private static Tensor within(Tensor places, long n) {
        return places.clamp(0, n - 1).to(DType.INT64);
    }

    /** Weights along a dimension, to stand beside x. */
    private static Tensor beside(Tensor weight, Tensor x, int dim) {
        long[] shape = new long[x.rank() - dim];
        Arrays.fill(shape, 1);
        shape[0] = weight.numel();
        return weight.to(x.dtype()).view(shape);
    }
}
