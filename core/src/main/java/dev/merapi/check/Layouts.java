// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.ops.Views;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Row-major tensors in other forms; null where a form does not exist. */
final class Layouts {
    private Layouts() {}

    /** The same values, with the last two dimensions swapped in memory. */
    static @Nullable Tensor transposed(Tensor t) {
        int rank = t.rank();
        if (rank < 2 || t.numel() == 0 || t.size(-1) == 1 || t.size(-2) == 1) {
            return null;
        }
        return t.transpose(rank - 2, rank - 1).copy().transpose(rank - 2, rank - 1);
    }

    /** The same values, three elements into a larger storage. */
    static Tensor offset(Tensor t) {
        Tensor longer = Tensor.zeros(Shape.of(t.numel() + 5), t.dtype(), t.device());
        Tensor part = longer.slice(0, 3, t.numel() + 3);
        part.copy_(t.view(t.numel()));
        return part.view(t.shape().toArray());
    }

    /** The same values, every second element of a larger storage. */
    static @Nullable Tensor strided(Tensor t) {
        if (t.numel() == 0) {
            return null;
        }
        long[] shape = t.shape().toArray();
        Tensor wide = Tensor.zeros(with(shape, 2), t.dtype(), t.device());
        Tensor part = Views.SELECT.call(new Views.Select(wide, shape.length, 1));
        part.copy_(t);
        return part;
    }

    private static Shape with(long[] shape, long last) {
        long[] longer = Arrays.copyOf(shape, shape.length + 1);
        longer[shape.length] = last;
        return Shape.of(longer);
    }

    /** The first row, repeated without memory. */
    static @Nullable Tensor expanded(Tensor t) {
        if (t.rank() == 0 || t.numel() == 0 || t.size(0) == 1) {
            return null;
        }
        return t.slice(0, 0, 1).expand(t.shape().toArray());
    }

    /** No rows. */
    static @Nullable Tensor empty(Tensor t) {
        return t.rank() == 0 ? null : t.slice(0, 0, 0);
    }

    /** No columns. */
    static @Nullable Tensor emptyLast(Tensor t) {
        return t.rank() < 2 ? null : t.slice(t.rank() - 1, 0, 0);
    }

    /** One element in every dimension. */
    static @Nullable Tensor single(Tensor t) {
        Tensor one = t;
        for (int d = 0; d < t.rank(); d++) {
            if (t.size(d) == 0) {
                return null;
            }
            one = one.slice(d, 0, 1);
        }
        return one;
    }

    /** The first half of each dimension, rounded up. */
    static Tensor shrunk(Tensor t) {
        Tensor shorter = t;
        for (int d = 0; d < t.rank(); d++) {
            shorter = shorter.slice(d, 0, (t.size(d) + 1) / 2);
        }
        return shorter;
    }

    /** The first element alone. */
    static @Nullable Tensor scalar(Tensor t) {
        return t.numel() == 0 ? null : t.view(t.numel()).slice(0, 0, 1).view();
    }

    /** The values over and over, 2n + 1 in each dimension of n > 1: odd, and longer than most vectors and tiles. */
    static Tensor grown(Tensor t) {
        if (t.rank() == 0 || t.numel() == 0) {
            return t;
        }
        long[] times = new long[t.rank()];
        Arrays.fill(times, 3);
        Tensor longer = t.repeat(times);
        for (int d = 0; d < t.rank(); d++) {
            long n = t.size(d);
            longer = longer.slice(d, 0, n == 1 ? 1 : 2 * n + 1);
        }
        return longer;
    }

    /** The values over and over, 1,031 in one dimension: no vector width or block divides it. */
    static @Nullable Tensor odd(Tensor t) {
        return row(t, 1031);
    }

    /** The values over and over, 2^20 + 7 in one dimension. */
    static @Nullable Tensor largeRow(Tensor t) {
        return row(t, (1 << 20) + 7);
    }

    private static @Nullable Tensor row(Tensor t, long length) {
        long n = t.numel();
        if (n == 0) {
            return null;
        }
        long rows = (length + n - 1) / n;
        return t.view(1, n).expand(rows, n).copy().view(rows * n).slice(0, 0, length);
    }

    /** The values over and over, in each dimension of n > 1 many times n, and one: more than 2^20 in the whole. */
    static @Nullable Tensor large(Tensor t) {
        long dims = t.shape().toArray().length
                - Arrays.stream(t.shape().toArray()).filter(n -> n == 1).count();
        if (t.numel() == 0 || dims == 0) {
            return t.numel() == 0 ? null : t;
        }
        long factor = (long) Math.ceil(Math.pow((1 << 20) / (double) t.numel(), 1.0 / dims));
        Tensor longer = t;
        for (int d = 0; d < t.rank(); d++) {
            long n = t.size(d);
            if (n > 1) {
                long[] times = new long[t.rank()];
                Arrays.fill(times, 1);
                times[d] = factor + 1;
                longer = longer.repeat(times).slice(d, 0, factor * n + 1);
            }
        }
        return longer;
    }
}
