// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.Message;
import dev.merapi.error.OpError;
import dev.merapi.error.ShapeException;
import java.util.Arrays;
import java.util.Objects;

/** The sizes of a tensor, outermost first; immutable. Rank 0 is a scalar, a size may be 0. */
public final class Shape {
    /** The shape of a 0-d tensor. */
    public static final Shape SCALAR = new Shape(new long[0]);

    private final long[] sizes;
    private final long numel;

    private Shape(long[] sizes) {
        this("shape", sizes);
    }

    private Shape(String op, long[] sizes) {
        this.sizes = sizes;
        this.numel = product(op, sizes);
    }

    /**
     * A shape, outermost dimension first; without sizes that of a scalar.
     *
     * @param sizes each at least 0; copied
     * @return the shape
     * @throws ShapeException if a size is negative or the number of elements exceeds 2^63 − 1
     */
    public static Shape of(long... sizes) {
        Objects.requireNonNull(sizes, "sizes");
        return sizes.length == 0 ? SCALAR : new Shape(sizes.clone());
    }

    /**
     * {@link #of(long...)} for an argument of an op, which errors name.
     *
     * @param op what the error begins with
     * @param sizes each at least 0; copied
     * @return the shape
     */
    public static Shape of(String op, long... sizes) {
        Objects.requireNonNull(sizes, "sizes");
        return sizes.length == 0 ? SCALAR : new Shape(op, sizes.clone());
    }

    /** Like {@link #of} for an array that the caller gives away. */
    static Shape owning(long[] sizes) {
        return sizes.length == 0 ? SCALAR : new Shape(sizes);
    }

    private static long product(String op, long[] sizes) {
        long n = 1;
        boolean empty = false;
        for (long size : sizes) {
            if (size < 0) {
                throw new ShapeException(Message.of(op + ": negative size " + size + " in " + Arrays.toString(sizes))
                        .fix("sizes are 0 or more"));
            }
            if (size == 0) {
                empty = true;
                continue;
            }
            long high = Math.multiplyHigh(n, size);
            n *= size;
            if (high != 0 || n < 0) {
                throw new ShapeException(
                        Message.of(op + ": " + Arrays.toString(sizes) + " has more than 2^63 - 1 elements")
                                .fix("smaller sizes"));
            }
        }
        return empty ? 0 : n;
    }

    /** {@return the number of dimensions; 0 for a scalar} */
    public int rank() {
        return sizes.length;
    }

    /**
     * Size of a dimension; negative ones count from the end.
     *
     * @param dim the dimension, negative from the end
     * @return its size, in elements
     * @throws ShapeException if there is no such dimension; a 0-d tensor has none
     */
    public long size(int dim) {
        int d = normalize(dim);
        if (sizes.length == 0) {
            throw new ShapeException("size: a 0-d tensor has no dimension " + dim);
        }
        return sizes[d];
    }

    /** {@return the number of elements: the product of the sizes, 1 for a scalar} */
    public long numel() {
        return numel;
    }

    /** {@return the sizes, a copy} */
    public long[] toArray() {
        return sizes.clone();
    }

    /** The sizes themselves, for reading only. */
    long[] raw() {
        return sizes;
    }

    /**
     * Maps a dimension in [−rank, rank) to [0, rank). A 0-d tensor takes −1 and 0, as if it had one dimension.
     *
     * @param dim the dimension, negative from the end
     * @return the same counted from the front
     * @throws ShapeException if it is out of range
     */
    public int normalize(int dim) {
        return normalize(dim, sizes.length);
    }

    /**
     * As above; an error names the op or method that was given the dimension.
     *
     * @param op what the error begins with
     * @param dim the dimension, negative from the end
     * @return the same counted from the front
     */
    public int normalize(String op, int dim) {
        try {
            return normalize(dim);
        } catch (ShapeException e) {
            throw OpError.in(op, e);
        }
    }

    /**
     * {@link #normalize(int)} for a given rank.
     *
     * @param dim the dimension, negative from the end
     * @param rank the number of dimensions
     * @return the same counted from the front
     */
    public static int normalize(int dim, int rank) {
        int r = Math.max(rank, 1);
        if (dim < -r || dim >= r) {
            throw new ShapeException("dimension " + dim + " is out of range for rank " + rank + ": allowed are " + -r
                    + " to " + (r - 1));
        }
        return dim < 0 ? dim + r : dim;
    }

    /**
     * This shape with one size replaced.
     *
     * @param dim the dimension, negative from the end
     * @param size what it becomes, at least 0
     * @return a new shape
     */
    public Shape with(int dim, long size) {
        long[] s = sizes.clone();
        s[normalize(dim)] = size;
        return owning(s);
    }

    /**
     * This shape without one dimension.
     *
     * @param dim the dimension, negative from the end
     * @return a new shape
     */
    public Shape without(int dim) {
        int d = normalize(dim);
        if (sizes.length == 0) {
            return this;
        }
        long[] s = new long[sizes.length - 1];
        System.arraycopy(sizes, 0, s, 0, d);
        System.arraycopy(sizes, d + 1, s, d, s.length - d);
        return owning(s);
    }

    /**
     * This shape with a dimension inserted so that it becomes dimension {@code dim} of the result.
     *
     * @param dim where it is in the result, from −rank − 1 to rank
     * @param size at least 0
     * @return a new shape
     */
    public Shape inserted(int dim, long size) {
        int d = normalize(dim, sizes.length + 1);
        long[] s = new long[sizes.length + 1];
        System.arraycopy(sizes, 0, s, 0, d);
        s[d] = size;
        System.arraycopy(sizes, d, s, d + 1, sizes.length - d);
        return owning(s);
    }

    /**
     * True if a tensor of this shape can be expanded to {@code target} without copying.
     *
     * @param target the wanted shape
     * @return whether sizes are equal or 1 here, aligned at the end
     */
    public boolean expandableTo(Shape target) {
        Objects.requireNonNull(target, "target");
        int shift = target.rank() - rank();
        if (shift < 0) {
            return false;
        }
        for (int i = 0; i < sizes.length; i++) {
            if (sizes[i] != 1 && sizes[i] != target.sizes[i + shift]) {
                return false;
            }
        }
        return true;
    }

    /**
     * The common shape of two operands by NumPy's rule: aligned at the end, sizes equal or one of them 1.
     *
     * @param op what the error begins with
     * @param a one shape
     * @param b the other
     * @return the shape of the result
     * @throws ShapeException naming {@code op}, both shapes and the first dimension that does not fit
     */
    public static Shape broadcast(String op, Shape a, Shape b) {
        Objects.requireNonNull(a, "a");
        Objects.requireNonNull(b, "b");
        if (a == b || a.equals(b)) {
            return a;
        }
        int rank = Math.max(a.rank(), b.rank());
        long[] result = new long[rank];
        for (int i = 1; i <= rank; i++) {
            long x = i <= a.rank() ? a.sizes[a.rank() - i] : 1;
            long y = i <= b.rank() ? b.sizes[b.rank() - i] : 1;
            if (x != y && x != 1 && y != 1) {
                throw new ShapeException(Message.of(op + ": shapes " + a + " and " + b + " do not broadcast: sizes " + x
                                + " and " + y + " differ in dimension " + -i)
                        .fix("make the sizes equal, or one of them 1 (unsqueeze, expand)."));
            }
            result[rank - i] = x == 1 ? y : x;
        }
        return owning(result);
    }

    @Override
    public boolean equals(Object other) {
        return this == other || other instanceof Shape s && Arrays.equals(sizes, s.sizes);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(sizes);
    }

    @Override
    public String toString() {
        return Arrays.toString(sizes);
    }
}
