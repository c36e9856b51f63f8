// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.Arrays;

/**
 * Pooling into a given number of windows: window i of m over n elements goes from ⌊i·n/m⌋ to ⌈(i + 1)·n/m⌉. Where m divides n
 * they are those of the usual pooling; else each dimension is looked up window by window.
 */
final class AdaptivePooling {
    private AdaptivePooling() {}

    static Tensor average(Tensor x, long... size) {
        require("adaptiveAvgPool", x, size);
        if (divides(x, size)) {
            long[] kernel = kernel(x, size);
            return PoolingForms.average(x, kernel, kernel, new long[size.length], false, true);
        }
        DType wide = x.dtype().computeType();
        Tensor y = x.to(wide);
        for (int i = 0; i < size.length; i++) {
            Lookup w = Lookup.of(x, 2 + i, size[i]);
            Tensor each = w.of(y).where(w.inside(y), 0);
            y = each.sum(new int[] {w.dim + 1}, false).div(w.along(w.lengths, y.rank(), wide, y.device()));
        }
        return y.to(x.dtype());
    }

    static Pooling.MaxPoolResult max(Tensor x, long... size) {
        require("adaptiveMaxPool", x, size);
        if (divides(x, size)) {
            long[] kernel = kernel(x, size);
            long[] ones = new long[size.length];
            Arrays.fill(ones, 1);
            return PoolingForms.max(x, kernel, kernel, new long[size.length], ones, false);
        }
        long[] plane = Arrays.copyOfRange(x.shape().toArray(), 2, x.rank());
        Tensor places = Reductions.count(x, Arrays.stream(plane).reduce(1, (a, b) -> a * b))
                .view(plane)
                .expand(x.shape().toArray());
        Tensor y = x;
        for (int i = size.length - 1; i >= 0; i--) {
            Lookup w = Lookup.of(x, 2 + i, size[i]);
            Reductions.Extremes best = w.of(y).max(w.dim + 1, true);
            y = best.values().squeeze(w.dim + 1);
            places = w.of(places).gather(w.dim + 1, best.indices()).squeeze(w.dim + 1);
        }
        return new Pooling.MaxPoolResult(y, places);
    }

    /** The windows of a dimension, as rows of indices: shorter windows end with their last element again. */
    private record Lookup(int dim, long windows, int longest, long[] indices, long[] lengths) {
        static Lookup of(Tensor x, int dim, long windows) {
            long n = x.size(dim);
            int m = Math.toIntExact(windows);
            long[] lengths = new long[m];
            int longest = 1;
            for (int i = 0; i < m; i++) {
                lengths[i] = end(i, n, m) - start(i, n, m);
                longest = (int) Math.max(longest, lengths[i]);
            }
            long[] indices = new long[m * longest];
            for (int i = 0; i < indices.length; i++) {
                int w = i / longest;
                indices[i] = start(w, n, m) + Math.min(i % longest, lengths[w] - 1);
            }
            return new Lookup(dim, windows, longest, indices, lengths);
        }

        private static long start(long i, long n, long m) {
            return i * n / m;
        }

        private static long end(long i, long n, long m) {
            return ((i + 1) * n + m - 1) / m;
        }

        /** [.., n, ..] as [.., windows, longest, ..]. */
        Tensor of(Tensor t) {
            return t.indexSelect(dim, Tensor.of(indices).to(t.device())).unflatten(dim, windows, longest);
        }

        /** Which of those are no repetitions. */
        Tensor inside(Tensor t) {
            boolean[] inside = new boolean[indices.length];
            for (int i = 0; i < inside.length; i++) {
                inside[i] = i % longest < lengths[i / longest];
            }
            long[] shape = new long[t.rank() - dim + 1];
            Arrays.fill(shape, 1);
            shape[0] = windows;
            shape[1] = longest;
            return Tensor.of(inside).to(t.device()).view(shape);
        }

        /** A number for each window, to stand beside the result. */
        Tensor along(long[] numbers, int rank, DType dtype, Device device) {
            long[] shape = new long[rank - dim];
            Arrays.fill(shape, 1);
            shape[0] = windows;
            return Tensor.of(numbers).to(dtype).to(device).view(shape);
        }
    }

    private static void require(String op, Tensor x, long[] size) {
        PoolingForms.require(op, x, size);
        Softmax.requireFloating(op, x);
        for (int i = 0; i < size.length; i++) {
            if (size[i] < 1 || size[i] > Integer.MAX_VALUE || x.size(2 + i) == 0) {
                throw new ShapeException(op + ": makes at least one window of at least one element, not " + size[i]
                        + " of " + x.size(2 + i) + " along dimension " + (2 + i) + "\n  x: " + x.describe());
            }
        }
    }

    private static boolean divides(Tensor x, long[] size) {
        boolean divides = true;
        for (int i = 0; i < size.length; i++) {
            divides &= x.size(2 + i) % size[i] == 0;
        }
        return divides;
    }

    private static long[] kernel(Tensor x, long[] size) {
        long[] kernel = new long[size.length];
        Arrays.setAll(kernel, i -> x.size(2 + i) / size[i]);
        return kernel;
    }
}
