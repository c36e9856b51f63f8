// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.ops.Indexing;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;

/** Indexing in plain Java. A shape is seen as [outer, n, inner] around the indexed dimension. */
public final class IndexingReference {
    private IndexingReference() {}

    record Around(long outer, long n, long inner) {
        static Around of(Shape shape, int dim) {
            if (shape.rank() == 0) {
                return new Around(1, 1, 1);
            }
            int d = shape.normalize(dim);
            long outer = 1;
            long inner = 1;
            for (int i = 0; i < shape.rank(); i++) {
                outer *= i < d ? shape.size(i) : 1;
                inner *= i > d ? shape.size(i) : 1;
            }
            return new Around(outer, shape.size(d), inner);
        }

        long at(long o, long j, long i) {
            return (o * n + j) * inner + i;
        }
    }

    /** The indices as they count from the start, each read once: what is checked here is what is used. */
    static long[] checked(String op, Tensor index, long size) {
        Elements e = Elements.of(index);
        long[] result = new long[Math.toIntExact(e.numel())];
        for (int k = 0; k < result.length; k++) {
            long i = e.getLong(k);
            if (i < -size || i >= size) {
                throw Indexing.outOfRange(op, k, i, size).beforeWriting();
            }
            result[k] = i < 0 ? i + size : i;
        }
        return result;
    }

    static void copy(Elements from, long i, Elements to, long k) {
        if (to.dtype().isFloating()) {
            to.setDouble(k, from.getDouble(i));
        } else {
            to.setLong(k, from.getLong(i));
        }
    }

    private static void add(Elements from, long i, Elements to, long k) {
        if (to.dtype() == DType.BOOL) {
            to.setLong(k, to.getLong(k) | from.getLong(i));
        } else if (to.dtype().isFloating()) {
            to.setDouble(k, to.getDouble(k) + from.getDouble(i));
        } else {
            to.setLong(k, to.getLong(k) + from.getLong(i));
        }
    }

    public static void gather(Indexing.Gather a, Tensor out) {
        Around x = Around.of(a.x().shape(), a.dim());
        Around y = Around.of(out.shape(), a.dim());
        long[] index = checked("gather", a.index(), x.n);
        Elements from = Elements.of(a.x());
        Elements to = Elements.of(out);
        for (long o = 0; o < y.outer; o++) {
            for (long j = 0; j < y.n; j++) {
                for (long i = 0; i < y.inner; i++) {
                    long k = y.at(o, j, i);
                    copy(from, x.at(o, index[(int) k], i), to, k);
                }
            }
        }
    }

    public static void scatter(Indexing.Scatter a, Tensor out) {
        out.copy_(a.x());
        scatter(a, out, false);
    }

    public static void scatterAddInto(Indexing.Scatter a, Tensor out) {
        scatter(a, out, true);
    }

    private static void scatter(Indexing.Scatter a, Tensor out, boolean adds) {
        Around x = Around.of(out.shape(), a.dim());
        Around s = Around.of(a.src().shape(), a.dim());
        long[] index = checked(adds ? "scatter_add_" : "scatter", a.index(), x.n);
        Elements from = Elements.of(a.src());
        Elements to = Elements.of(out);
        for (long o = 0; o < s.outer; o++) {
            for (long j = 0; j < s.n; j++) {
                for (long i = 0; i < s.inner; i++) {
                    long k = s.at(o, j, i);
                    long target = x.at(o, index[(int) k], i);
                    if (adds) {
                        add(from, k, to, target);
                    } else {
                        copy(from, k, to, target);
                    }
                }
            }
        }
    }

    public static void indexSelect(Indexing.IndexSelect a, Tensor out) {
        Around x = Around.of(a.x().shape(), a.dim());
        Around y = Around.of(out.shape(), a.dim());
        long[] index = checked("index_select", a.index(), x.n);
        Elements from = Elements.of(a.x());
        Elements to = Elements.of(out);
        for (long o = 0; o < y.outer; o++) {
            for (long j = 0; j < y.n; j++) {
                for (long i = 0; i < y.inner; i++) {
                    copy(from, x.at(o, index[(int) j], i), to, y.at(o, j, i));
                }
            }
        }
    }

    /** Adds into {@code out}. */
    public static void indexAdd(Indexing.IndexAdd a, Tensor out) {
        rowsInto(a, out, true);
    }

    /** Puts into {@code out}. */
    public static void indexCopy(Indexing.IndexAdd a, Tensor out) {
        rowsInto(a, out, false);
    }

    private static void rowsInto(Indexing.IndexAdd a, Tensor out, boolean adds) {
        Around x = Around.of(out.shape(), a.dim());
        Around s = Around.of(a.src().shape(), a.dim());
        long[] index = checked(adds ? "index_add_" : "index_copy_", a.index(), x.n);
        Elements from = Elements.of(a.src());
        Elements to = Elements.of(out);
        for (long o = 0; o < s.outer; o++) {
            for (long j = 0; j < s.n; j++) {
                for (long i = 0; i < s.inner; i++) {
                    long target = x.at(o, index[(int) j], i);
                    if (adds) {
                        add(from, s.at(o, j, i), to, target);
                    } else {
                        copy(from, s.at(o, j, i), to, target);
                    }
                }
            }
        }
    }

    public static void embedding(Indexing.Embedding a, Tensor out) {
        long[] index = checked("embedding", a.indices(), a.weight().size(0));
        Elements from = Elements.of(a.weight());
        Elements to = Elements.of(out);
        long width = a.weight().size(1);
        for (int k = 0; k < index.length; k++) {
            for (long d = 0; d < width; d++) {
                copy(from, index[k] * width + d, to, k * width + d);
            }
        }
    }

    /** Sums in float64, and rounds once. */
    public static void embeddingBackward(Indexing.EmbeddingBackward a, Tensor out) {
        long[] index = checked("embedding_backward", a.indices(), a.rows());
        Elements from = Elements.of(a.g());
        Elements to = Elements.of(out);
        long width = out.size(1);
        double[] sums = new double[Math.toIntExact(out.numel())];
        for (int k = 0; k < index.length; k++) {
            if (a.paddingIndex() < 0 || index[k] != a.paddingIndex()) {
                for (long d = 0; d < width; d++) {
                    sums[(int) (index[k] * width + d)] += from.getDouble(k * width + d);
                }
            }
        }
        for (int i = 0; i < sums.length; i++) {
            to.setDouble(i, sums[i]);
        }
    }

    public static void oneHot(Indexing.OneHot a, Tensor out) {
        long[] index = checked("one_hot", a.indices(), a.classes());
        Elements to = Elements.of(out);
        for (long i = 0; i < to.numel(); i++) {
            to.setLong(i, i % a.classes() == index[(int) (i / a.classes())] ? 1 : 0);
        }
    }

    public static Tensor nonzero(Indexing.NonZero a) {
        Elements x = Elements.of(a.x());
        long count = 0;
        for (long i = 0; i < x.numel(); i++) {
            count += isNonZero(x, i) ? 1 : 0;
        }
        int rank = a.x().rank();
        Tensor out = TENSORS.allocate(Shape.of(count, rank), DType.INT64, a.x().device());
        if (out.numel() == 0) {
            return out;
        }
        Elements to = Elements.of(out);
        long row = 0;
        for (long i = 0; i < x.numel(); i++) {
            if (isNonZero(x, i)) {
                long rest = i;
                for (int d = rank - 1; d >= 0; d--) {
                    to.setLong(row * rank + d, rest % a.x().size(d));
                    rest /= a.x().size(d);
                }
                row++;
            }
        }
        return out;
    }

    private static boolean isNonZero(Elements x, long i) {
        return x.dtype().isFloating() ? x.getDouble(i) != 0 : x.getLong(i) != 0;
    }
}
