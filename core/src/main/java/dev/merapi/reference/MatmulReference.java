// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.Arrays;

/** Products of matrices of any strides: floats accumulate in float64, integers in long. */
public final class MatmulReference {
    private MatmulReference() {}

    public static void matmul(LinearAlgebra.Matmul args, Tensor out) {
        Tensor a = args.a();
        Tensor b = args.b();
        int m = Math.toIntExact(a.size(-2));
        int k = Math.toIntExact(a.size(-1));
        int n = Math.toIntExact(b.size(-1));
        long[] batch = Arrays.copyOf(out.shape().toArray(), out.rank() - 2);
        Matrices left = new Matrices(a, batch, m, k);
        Matrices right = new Matrices(b, batch, k, n);
        Elements to = Elements.of(out);
        long count = Shape.of(batch).numel();
        boolean floating = out.dtype().isFloating();
        for (long i = 0; i < count; i++) {
            long at = i * m * n;
            if (floating) {
                multiply(left.doubles(i), right.doubles(i), m, k, n, to, at);
            } else {
                multiply(left.longs(i), right.longs(i), m, k, n, to, at);
            }
        }
    }

    public static void linear(LinearAlgebra.Linear a, Tensor out) {
        Tensor weight = a.weight();
        Tensor bias = a.bias();
        int in = Math.toIntExact(weight.size(1));
        int width = Math.toIntExact(weight.size(0));
        long rows = out.numel() / Math.max(1, width);
        Elements to = Elements.of(out);
        Elements from = Elements.of(in == 0 ? out : a.x());
        Elements add = bias == null ? null : Elements.of(bias);
        boolean floating = out.dtype().isFloating();
        Elements w = Elements.of(in == 0 ? out : weight);
        double[] row = new double[in];
        double[] wide = new double[width * in];
        for (int i = 0; i < wide.length && floating; i++) {
            wide[i] = w.getDouble(i);
        }
        for (long r = 0; r < rows; r++) {
            for (int i = 0; i < in && floating; i++) {
                row[i] = from.getDouble(r * in + i);
            }
            for (int o = 0; o < width; o++) {
                if (floating) {
                    double sum = add == null ? 0 : add.getDouble(o);
                    for (int i = 0; i < in; i++) {
                        sum += row[i] * wide[o * in + i];
                    }
                    to.setDouble(r * width + o, sum);
                } else {
                    long sum = add == null ? 0 : add.getLong(o);
                    for (int i = 0; i < in; i++) {
                        sum += from.getLong(r * in + i) * w.getLong((long) o * in + i);
                    }
                    to.setLong(r * width + o, sum);
                }
            }
        }
    }

    /** Row by row: the inner loop runs along rows of b and of the sums, which stay in the cache. */
    private static void multiply(double[] a, double[] b, int m, int k, int n, Elements out, long at) {
        double[] sums = new double[n];
        for (int i = 0; i < m; i++) {
            Arrays.fill(sums, 0);
            for (int p = 0; p < k; p++) {
                double x = a[i * k + p];
                int row = p * n;
                for (int j = 0; j < n; j++) {
                    sums[j] += x * b[row + j];
                }
            }
            for (int j = 0; j < n; j++) {
                out.setDouble(at + (long) i * n + j, sums[j]);
            }
        }
    }

    private static void multiply(long[] a, long[] b, int m, int k, int n, Elements out, long at) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                long sum = 0;
                for (int p = 0; p < k; p++) {
                    sum += a[i * k + p] * b[p * n + j];
                }
                out.setLong(at + (long) i * n + j, sum);
            }
        }
    }

    /** The matrices of a batch that may be broadcast, each unpacked to row-major order; the last one is remembered. */
    private static final class Matrices {
        private final Elements elements;
        private final Layout layout;
        private final long[] batch;
        private final int rows;
        private final int columns;
        private long lastOffset = -1;
        private double[] doubles = {};
        private long[] longs = {};

        Matrices(Tensor t, long[] batch, int rows, int columns) {
            long[] full = Arrays.copyOf(batch, batch.length + 2);
            full[batch.length] = rows;
            full[batch.length + 1] = columns;
            this.layout = t.layout().expand(Shape.of(full));
            this.elements = Elements.of(t);
            this.batch = batch;
            this.rows = rows;
            this.columns = columns;
        }

        private long offset(long i) {
            long offset = 0;
            long rest = i;
            for (int d = batch.length - 1; d >= 0; d--) {
                offset += rest % batch[d] * layout.stride(d);
                rest /= batch[d];
            }
            return offset;
        }

        private long position(long offset, int r, int c) {
            return offset + r * layout.stride(-2) + c * layout.stride(-1);
        }

        double[] doubles(long i) {
            long offset = offset(i);
            if (offset != lastOffset) {
                lastOffset = offset;
                doubles = new double[Math.multiplyExact(rows, columns)];
                for (int r = 0; r < rows; r++) {
                    for (int c = 0; c < columns; c++) {
                        doubles[r * columns + c] = elements.doubleAt(position(offset, r, c));
                    }
                }
            }
            return doubles;
        }

        long[] longs(long i) {
            long offset = offset(i);
            if (offset != lastOffset) {
                lastOffset = offset;
                longs = new long[Math.multiplyExact(rows, columns)];
                for (int r = 0; r < rows; r++) {
                    for (int c = 0; c < columns; c++) {
                        longs[r * columns + c] = elements.longAt(position(offset, r, c));
                    }
                }
            }
            return longs;
        }
    }
}
