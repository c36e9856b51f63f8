// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.Message;
import dev.merapi.error.OpError;
import dev.merapi.error.ShapeException;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Objects;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;

/**
 * How a tensor's elements lie in its storage: shape, strides and offset, all counted in elements; immutable.
 * Every view op is a method here that returns another layout over the same storage.
 */
public final class Layout {
    /** Up to where {@link #meets} looks at single elements. */
    private static final long MOST_COMPARED = 1 << 26;

    private final Shape shape;
    private final long[] strides;
    private final long offset;
    private final boolean contiguous;

    private Layout(Shape shape, long[] strides, long offset) {
        this.shape = shape;
        this.strides = strides;
        this.offset = offset;
        this.contiguous = isRowMajor(shape, strides);
    }

    /**
     * Row-major layout at offset 0.
     *
     * @param shape the sizes
     * @return the layout
     */
    public static Layout contiguous(Shape shape) {
        Objects.requireNonNull(shape, "shape");
        return new Layout(shape, rowMajor(shape), 0);
    }

    /**
     * A layout of any strides.
     *
     * @param shape the sizes
     * @param strides how far apart neighbours of each dimension are, in elements; at least 0
     * @param offset where the first element is, in elements from the start of the memory
     * @return the layout
     * @throws ShapeException if the counts differ or a stride or the offset is negative
     */
    public static Layout of(Shape shape, long[] strides, long offset) {
        Objects.requireNonNull(shape, "shape");
        Objects.requireNonNull(strides, "strides");
        if (strides.length != shape.rank()) {
            throw new ShapeException("layout: " + strides.length + " strides for rank " + shape.rank());
        }
        for (long stride : strides) {
            if (stride < 0) {
                throw new ShapeException("layout: negative stride in " + Arrays.toString(strides));
            }
        }
        if (offset < 0) {
            throw new ShapeException("layout: negative offset " + offset);
        }
        return new Layout(shape, strides.clone(), offset);
    }

    private static long[] rowMajor(Shape shape) {
        long[] sizes = shape.raw();
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= Math.max(sizes[i], 1);
        }
        return strides;
    }

    private static boolean isRowMajor(Shape shape, long[] strides) {
        if (shape.numel() == 0) {
            return true;
        }
        long expected = 1;
        long[] sizes = shape.raw();
        for (int i = sizes.length - 1; i >= 0; i--) {
            if (sizes[i] != 1) {
                if (strides[i] != expected) {
                    return false;
                }
                expected *= sizes[i];
            }
        }
        return true;
    }

    /** {@return the sizes} */
    public Shape shape() {
        return shape;
    }

    /** {@return the number of dimensions} */
    public int rank() {
        return shape.rank();
    }

    /** {@return the number of elements: the product of the sizes} */
    public long numel() {
        return shape.numel();
    }

    /**
     * {@return the size of a dimension}
     *
     * @param dim the dimension, negative from the end
     */
    public long size(int dim) {
        return shape.size(dim);
    }

    /**
     * {@return how far apart neighbours of a dimension are, in elements}
     *
     * @param dim the dimension, negative from the end
     */
    public long stride(int dim) {
        return strides[requireDim("stride", dim)];
    }

    /** {@return the strides in elements, a copy} */
    public long[] strides() {
        return strides.clone();
    }

    /** {@return where the first element is, in elements from the start of the memory} */
    public long offset() {
        return offset;
    }

    /** {@return whether the elements stand in row-major order without gaps; the offset may be anything} */
    public boolean isContiguous() {
        return contiguous;
    }

    /** {@return whether all index tuples lead to one element: a broadcast scalar} */
    public boolean isUniform() {
        for (int d = 0; d < strides.length; d++) {
            if (strides[d] != 0 && shape.raw()[d] != 1) {
                return false;
            }
        }
        return true;
    }

    /** {@return whether no two index tuples share an element (strides of 0 are the usual reason for false)} */
    public boolean isInjective() {
        if (contiguous) {
            return true;
        }
        if (end() == Long.MAX_VALUE) {
            return false; // what follows would wrap around
        }
        // Sorted by stride, each must step over everything that the smaller ones reach: sufficient, not necessary.
        Integer[] order = new Integer[rank()];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, (a, b) -> Long.compare(strides[a], strides[b]));
        long reach = 0;
        for (int d : order) {
            long size = shape.raw()[d];
            if (size > 1) {
                if (strides[d] <= reach) {
                    return false;
                }
                reach += (size - 1) * strides[d];
            }
        }
        return true;
    }

    /**
     * {@return one past the last element that is reached, counted in elements from the start of the storage; 0 if there
     * is none, and the greatest long if no long can tell}
     */
    public long end() {
        if (numel() == 0) {
            return 0;
        }
        long last = offset;
        for (int i = 0; i < strides.length; i++) {
            long steps = shape.raw()[i] - 1;
            long reach = steps * strides[i];
            last += reach;
            if (reach < 0 || last < 0 || Math.multiplyHigh(steps, strides[i]) != 0) {
                return Long.MAX_VALUE;
            }
        }
        return last == Long.MAX_VALUE ? last : last + 1;
    }

    /**
     * True if both reach a common element of the same memory; also if that would take too long to find out.
     *
     * @param other a layout over the same memory
     * @return true if both reach a common element; also if that would take too long to find out
     */
    public boolean meets(Layout other) {
        Objects.requireNonNull(other, "other");
        if (numel() == 0 || other.numel() == 0 || end() <= other.offset || other.end() <= offset) {
            return false;
        }
        if (contiguous && other.contiguous || Math.max(end(), other.end()) > MOST_COMPARED) {
            return true;
        }
        BitSet mine = new BitSet();
        forEachPosition(mine::set);
        boolean[] common = {false};
        other.forEachPosition(p -> common[0] |= mine.get(p));
        return common[0];
    }

    private void forEachPosition(IntConsumer action) {
        for (long i = 0; i < numel(); i++) {
            long position = offset;
            long rest = i;
            for (int d = rank() - 1; d >= 0; d--) {
                position += rest % size(d) * strides[d];
                rest /= size(d);
            }
            action.accept((int) position);
        }
    }

    /**
     * True if all elements, of that many bytes each, lie within memory of {@code bytes}.
     *
     * @param elementSize bytes of an element
     * @param bytes how many there are
     * @return whether nothing lies beyond
     */
    public boolean fits(int elementSize, long bytes) {
        return end() <= bytes / elementSize;
    }

    /**
     * True if both reach the same elements by the same indices.
     *
     * @param other any layout
     * @return whether it reaches the same elements by the same indices
     */
    public boolean sameAs(Layout other) {
        Objects.requireNonNull(other, "other");
        return this == other
                || offset == other.offset
                        && shape.equals(other.shape)
                        && (Arrays.equals(strides, other.strides) || contiguous && other.contiguous);
    }

    /**
     * The same strides from another offset.
     *
     * @param newOffset in elements, at least 0
     * @return the layout
     */
    public Layout at(long newOffset) {
        return newOffset == offset ? this : new Layout(shape, strides, newOffset);
    }

    /**
     * Two dimensions change places.
     *
     * @param dim0 one, negative from the end
     * @param dim1 the other
     * @return the layout
     */
    public Layout transpose(int dim0, int dim1) {
        int a = shape.normalize(dim0);
        int b = shape.normalize(dim1);
        if (a == b) {
            return this;
        }
        long[] sizes = shape.toArray();
        long[] s = strides.clone();
        sizes[a] = shape.raw()[b];
        sizes[b] = shape.raw()[a];
        s[a] = strides[b];
        s[b] = strides[a];
        return new Layout(Shape.owning(sizes), s, offset);
    }

    /**
     * Dimension i of the result is dimension {@code dims[i]} of this.
     *
     * @param dims each dimension once, negative ones from the end
     * @return the layout
     */
    public Layout permute(int... dims) {
        Objects.requireNonNull(dims, "dims");
        if (dims.length != rank()) {
            throw new ShapeException("permute: " + dims.length + " dimensions " + Arrays.toString(dims) + " for shape "
                    + shape + " of rank " + rank());
        }
        long[] sizes = new long[dims.length];
        long[] s = new long[dims.length];
        boolean[] seen = new boolean[dims.length];
        for (int i = 0; i < dims.length; i++) {
            int d = shape.normalize(dims[i]);
            if (seen[d]) {
                throw new ShapeException("permute: dimension " + d + " appears twice in " + Arrays.toString(dims));
            }
            seen[d] = true;
            sizes[i] = shape.raw()[d];
            s[i] = strides[d];
        }
        return new Layout(Shape.owning(sizes), s, offset);
    }

    /**
     * Elements start, start + step, … below end; start and end count from the end when negative, and are clamped.
     *
     * @param dim the dimension, negative from the end
     * @param start the first index
     * @param end no index from here on
     * @param step at least 1
     * @return the layout
     */
    public Layout slice(int dim, long start, long end, long step) {
        if (step <= 0) {
            throw new ShapeException("slice: step " + step + " must be at least 1");
        }
        int d = requireDim("slice", dim);
        long size = shape.raw()[d];
        long from = Math.max(0, Math.min(size, start < 0 ? start + size : start));
        long to = Math.max(from, Math.min(size, end < 0 ? end + size : end));
        long count = to == from ? 0 : (to - from - 1) / step + 1;
        long[] s = strides.clone();
        s[d] = count > 1 ? s[d] * step : s[d];
        return new Layout(shape.with(d, count), s, offset + from * strides[d]);
    }

    /**
     * Drops a dimension by fixing its index, which counts from the end when negative.
     *
     * @param dim the dimension, negative from the end
     * @param index negative from the end
     * @return the layout, of one dimension less
     */
    public Layout select(int dim, long index) {
        int d = requireDim("select", dim);
        long size = shape.raw()[d];
        if (index < -size || index >= size) {
            throw new ShapeException("select: index " + index + " is out of range for dimension " + d + " of size "
                    + size + " in shape " + shape);
        }
        long i = index < 0 ? index + size : index;
        return new Layout(shape.without(d), without(strides, d), offset + i * strides[d]);
    }

    /**
     * A dimension in [−rank, rank) as one in [0, rank).
     *
     * @param op what the error begins with
     * @param dim the dimension, negative from the end
     * @return the same counted from the front
     * @throws ShapeException naming {@code op} if there is none; a 0-d tensor has none
     */
    public int requireDim(String op, int dim) {
        if (rank() == 0) {
            throw new ShapeException(op + ": a 0-d tensor has no dimension " + dim);
        }
        return shape.normalize(op, dim);
    }

    private static long[] without(long[] values, int dim) {
        long[] v = new long[values.length - 1];
        System.arraycopy(values, 0, v, 0, dim);
        System.arraycopy(values, dim + 1, v, dim, v.length - dim);
        return v;
    }

    /**
     * Repeats sizes of 1, and new leading dimensions, by strides of 0. A target size of −1 keeps the own one.
     *
     * @param target sizes that this shape broadcasts to, or −1
     * @return the layout
     */
    public Layout expand(Shape target) {
        Objects.requireNonNull(target, "target");
        if (target.equals(shape)) {
            return this;
        }
        int shift = target.rank() - rank();
        if (!shape.expandableTo(target)) {
            throw new ShapeException(Message.of("expand: shape " + shape + " does not expand to " + target)
                    .fix("only sizes of 1 and new leading dimensions can be expanded."));
        }
        long[] s = new long[target.rank()];
        for (int i = 0; i < rank(); i++) {
            s[i + shift] = shape.raw()[i] == target.raw()[i + shift] ? strides[i] : 0;
        }
        return new Layout(target, s, offset);
    }

    /**
     * Drops dimension {@code dim} if its size is 1, else changes nothing.
     *
     * @param dim the dimension, negative from the end
     * @return the layout
     */
    public Layout squeeze(int dim) {
        int d = shape.normalize(dim);
        if (rank() == 0 || shape.raw()[d] != 1) {
            return this;
        }
        return new Layout(shape.without(d), without(strides, d), offset);
    }

    /**
     * Inserts a dimension of size 1 so that it becomes {@code dim} of the result.
     *
     * @param dim where it is in the result, from −rank − 1 to rank
     * @return the layout
     */
    public Layout unsqueeze(int dim) {
        int d = Shape.normalize(dim, rank() + 1);
        long[] s = new long[rank() + 1];
        System.arraycopy(strides, 0, s, 0, d);
        long next = d < rank() ? strides[d] * Math.max(shape.raw()[d], 1) : 1;
        s[d] = next < 0 ? 0 : next; // of a size of 1 any does
        System.arraycopy(strides, d, s, d + 1, rank() - d);
        return new Layout(shape.inserted(d, 1), s, offset);
    }

    /**
     * The diagonal of two dimensions as a new last one; a positive {@code diagonal} lies above the main one.
     *
     * @param diagonal how far above the main one
     * @param dim0 the dimension of the rows
     * @param dim1 the dimension of the columns
     * @return the layout, of one dimension less
     */
    public Layout diagonal(long diagonal, int dim0, int dim1) {
        int a = requireDim("diagonal", dim0);
        int b = requireDim("diagonal", dim1);
        if (a == b) {
            throw new ShapeException("diagonal: dimensions " + dim0 + " and " + dim1 + " are the same");
        }
        long rows = shape.raw()[a];
        long columns = shape.raw()[b];
        long length =
                Math.max(0, diagonal >= 0 ? Math.min(rows, columns - diagonal) : Math.min(rows + diagonal, columns));
        long start = length == 0 ? 0 : diagonal >= 0 ? diagonal * strides[b] : -diagonal * strides[a];
        long[] sizes = new long[rank() - 1];
        long[] s = new long[rank() - 1];
        int k = 0;
        for (int i = 0; i < rank(); i++) {
            if (i != a && i != b) {
                sizes[k] = shape.raw()[i];
                s[k++] = strides[i];
            }
        }
        sizes[k] = length;
        s[k] = length > 1 ? Sizes.add(strides[a], strides[b]) : 0; // of a size of 1 any does
        return new Layout(Shape.owning(sizes), s, offset + start);
    }

    /**
     * Resolves one −1 in a requested shape.
     *
     * @param op what the error begins with
     * @param from the shape that is there
     * @param sizes the wanted ones, one of which may be −1
     * @return the wanted shape
     * @throws ShapeException if the number of elements cannot fit
     */
    public static Shape inferred(String op, Shape from, long... sizes) {
        Objects.requireNonNull(from, "from");
        Objects.requireNonNull(sizes, "sizes");
        long known = 1;
        int open = -1;
        for (int i = 0; i < sizes.length; i++) {
            if (sizes[i] == -1 && open < 0) {
                open = i;
            } else if (sizes[i] < 0) {
                throw new ShapeException(op + ": size " + sizes[i] + " in " + Arrays.toString(sizes)
                        + "; one size may be -1, none may be smaller");
            } else {
                try {
                    known = Sizes.multiply(known, sizes[i]);
                } catch (ShapeException e) {
                    throw OpError.in(op, e);
                }
            }
        }
        long[] result = sizes.clone();
        if (open >= 0 && known != 0 && from.numel() % known == 0) {
            result[open] = from.numel() / known;
        }
        if (open >= 0 && result[open] < 0 || Shape.of(op, result).numel() != from.numel()) {
            throw new ShapeException(Message.of(op + ": shape " + from + " has " + from.numel()
                    + " elements, which do not fit into " + Arrays.toString(sizes)));
        }
        return Shape.owning(result);
    }

    /**
     * The layout of the same elements in another shape, or null if that needs a copy.
     *
     * @param target of as many elements
     * @return the layout, or null
     */
    public @Nullable Layout reshape(Shape target) {
        Objects.requireNonNull(target, "target");
        if (target.numel() != numel()) {
            throw new ShapeException("reshape: " + shape + " to " + target + " changes the number of elements");
        }
        if (target.equals(shape)) {
            return this;
        }
        if (contiguous) {
            return new Layout(target, rowMajor(target), offset);
        }
        long[] result = new long[target.rank()];
        int view = target.rank() - 1;
        long chunk = 1; // elements of the current run of old dimensions that lie evenly spaced
        long base = 1;
        long viewed = 1;
        boolean first = true;
        for (int d = rank() - 1; d >= 0; d--) {
            if (first) {
                base = strides[d];
                first = false;
            }
            chunk *= shape.raw()[d];
            boolean runEnds = d == 0 || shape.raw()[d - 1] != 1 && strides[d - 1] != chunk * base;
            if (runEnds) {
                while (view >= 0 && (viewed < chunk || target.raw()[view] == 1)) {
                    result[view] = viewed * base;
                    viewed *= target.raw()[view];
                    view--;
                }
                if (viewed != chunk) {
                    return null;
                }
                if (d > 0) {
                    base = strides[d - 1];
                    chunk = 1;
                    viewed = 1;
                }
            }
        }
        return view < 0 ? new Layout(target, result, offset) : null;
    }

    @Override
    public String toString() {
        return contiguous && offset == 0
                ? shape.toString()
                : shape + " strides " + Arrays.toString(strides) + (offset == 0 ? "" : " offset " + offset);
    }
}
