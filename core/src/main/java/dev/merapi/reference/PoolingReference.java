// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;
import java.util.stream.LongStream;

/** Pooling by window, in float64. */
public final class PoolingReference {
    private PoolingReference() {}

    /** Called with the positions of one element in its plane and of its window in its output plane. */
    private interface Visit {
        void at(int position, int window);
    }

    public static void max(Pooling.MaxPool2d a, Pooling.MaxPoolResult out) {
        if (out.y().numel() == 0) {
            return;
        }
        Elements x = Elements.of(a.x());
        Elements indices = Elements.of(out.indices());
        Elements y = Elements.of(out.y());
        long plane = a.x().size(2) * a.x().size(3);
        int windows = (int) (out.y().size(2) * out.y().size(3));
        for (long p = 0; p < a.x().size(0) * a.x().size(1); p++) {
            long base = p * plane;
            double[] best = new double[windows];
            long[] at = new long[windows];
            java.util.Arrays.fill(best, Double.NEGATIVE_INFINITY); // of a window that holds nothing but padding
            java.util.Arrays.fill(at, -1);
            walk(a.x(), out.y(), a.kernel(), a.stride(), a.padding(), a.dilation(), (position, w) -> {
                double v = x.getDouble(base + position);
                if (at[w] < 0 || v > best[w] || Double.isNaN(v) && !Double.isNaN(best[w])) {
                    best[w] = v;
                    at[w] = position;
                }
            });
            for (int w = 0; w < windows; w++) {
                y.setDouble(p * windows + w, best[w]);
                indices.setLong(p * windows + w, at[w]);
            }
        }
    }

    public static void maxBackward(Pooling.MaxPool2dBackward a, Tensor out) {
        double[] dx = new double[Math.toIntExact(out.numel())];
        double[] g = ConvolutionReference.values(a.grad());
        long plane = out.size(2) * out.size(3);
        long windows = a.grad().size(2) * a.grad().size(3);
        for (int i = 0; i < g.length; i++) {
            long at = Elements.of(a.indices()).getLong(i);
            if (at >= 0 && at < plane) { // what is outside of its plane belongs to no element
                dx[(int) (i / windows * plane + at)] += g[i];
            }
        }
        ConvolutionReference.store(dx, out);
    }

    public static void average(Pooling.AvgPool2d a, Tensor out) {
        double[] x = ConvolutionReference.values(a.x());
        double[] y = new double[Math.toIntExact(out.numel())];
        int plane = (int) (a.x().size(2) * a.x().size(3));
        int windows = (int) (out.size(2) * out.size(3));
        double[] share = shares(a.x(), out, a.kernel(), a.stride(), a.padding(), a.countIncludePad());
        for (int p = 0; p < a.x().size(0) * a.x().size(1); p++) {
            int from = p * plane;
            int to = p * windows;
            walk(
                    a.x(),
                    out,
                    a.kernel(),
                    a.stride(),
                    a.padding(),
                    new long[] {1, 1},
                    (position, w) -> y[to + w] += x[from + position] * share[w]);
        }
        ConvolutionReference.store(y, out);
    }

    public static void averageBackward(Pooling.AvgPool2dBackward a, Tensor out) {
        double[] g = ConvolutionReference.values(a.grad());
        double[] dx = new double[Math.toIntExact(out.numel())];
        int plane = (int) (out.size(2) * out.size(3));
        int windows = (int) (a.grad().size(2) * a.grad().size(3));
        double[] share = shares(out, a.grad(), a.kernel(), a.stride(), a.padding(), a.countIncludePad());
        for (int p = 0; p < out.size(0) * out.size(1); p++) {
            int to = p * plane;
            int from = p * windows;
            walk(
                    out,
                    a.grad(),
                    a.kernel(),
                    a.stride(),
                    a.padding(),
                    new long[] {1, 1},
                    (position, w) -> dx[to + position] += g[from + w] * share[w]);
        }
        ConvolutionReference.store(dx, out);
    }

    /** What each element of a window counts for. */
    private static double[] shares(
            Tensor x, Tensor y, long[] kernel, long[] stride, long[] padding, boolean countIncludePad) {
        double[] counts = new double[(int) (y.size(2) * y.size(3))];
        if (countIncludePad) { // with the padding, but not beyond it, where windows end outside
            for (int w = 0; w < counts.length; w++) {
                long top = w / y.size(3) * stride[0] - padding[0];
                long left = w % y.size(3) * stride[1] - padding[1];
                counts[w] = (double) (Math.min(top + kernel[0], x.size(2) + padding[0]) - top)
                        * (Math.min(left + kernel[1], x.size(3) + padding[1]) - left);
            }
        } else {
            walk(x, y, kernel, stride, padding, new long[] {1, 1}, (position, w) -> counts[w]++);
        }
        for (int w = 0; w < counts.length; w++) {
            counts[w] = 1 / counts[w];
        }
        return counts;
    }

    private static void walk(
            Tensor x, Tensor y, long[] kernel, long[] stride, long[] padding, long[] dilation, Visit visit) {
        for (int i = 0; i < y.size(2); i++) {
            long[] rows = inside(i * stride[0] - padding[0], dilation[0], kernel[0], x.size(2));
            for (int j = 0; j < y.size(3); j++) {
                long[] columns = inside(j * stride[1] - padding[1], dilation[1], kernel[1], x.size(3));
                for (long row : rows) {
                    for (long column : columns) {
                        visit.at((int) (row * x.size(3) + column), (int) (i * y.size(3) + j));
                    }
                }
            }
        }
    }

    /** Where the taps of a window lie in [0, size): a window may be far larger than the image. */
    private static long[] inside(long start, long dilation, long taps, long size) {
        long first = start >= 0 ? 0 : Sizes.divideUp(-start, dilation);
        long end = start >= size ? 0 : Math.min(taps, (size - 1 - start) / dilation + 1);
        return LongStream.range(first, end).map(tap -> start + tap * dilation).toArray();
    }
}
