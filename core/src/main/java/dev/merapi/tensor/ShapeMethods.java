// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.CopyOps;
import dev.merapi.ops.Joining;
import dev.merapi.ops.Rearranging;
import dev.merapi.ops.Views;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * Other shapes of a tensor: views, which share memory and write through, and copies. Dimensions count from the end when
 * negative. All are differentiable; writing in place to a view of a tensor in a graph is recorded too.
 */
public abstract sealed class ShapeMethods extends PointwiseMethods permits IndexMethods {
    ShapeMethods() {}

    // ---------------------------------------------------------------- copies

    /** A row-major copy in fresh memory. */
    public Tensor copy() {
        return CopyOps.CAST.call(new CopyOps.Cast(self(), self().dtype()));
    }

    /** Itself if row-major, else a row-major copy. */
    public Tensor contiguous() {
        return self().isContiguous() ? self() : copy();
    }

    /**
     * Itself if it has that dtype, else a converted copy. Floats to int32 and int64: towards 0, saturating, NaN gives 0; to
     * uint8 the low 8 bits of that int32, as integers to narrower ones keep their low bits; to bool whether it differs from
     * 0, so NaN is true. Floats to narrower ones are rounded once, to nearest even.
     */
    public Tensor to(DType dtype) {
        return dtype == self().dtype() ? self() : CopyOps.CAST.call(new CopyOps.Cast(self(), dtype));
    }

    /** Itself if it is there, else a copy on that device. */
    public Tensor to(Device device) {
        return device == self().device() ? self() : CopyOps.MOVE.call(new CopyOps.Move(self(), device));
    }

    /**
     * Writes {@code source}, broadcast and converted, into this; returns this.
     *
     * @throws ShapeException if it does not broadcast to this shape
     */
    public Tensor copy_(Tensor source) {
        return CopyOps.COPY_INTO.call(new CopyOps.Into(self(), source));
    }

    /** The same memory without the graph; writes show on both sides. */
    public Tensor detach() {
        self().requireOpen("detach", "x");
        return self().viewAs(self().layout(), dev.merapi.dispatch.Context.current());
    }

    // ---------------------------------------------------------------- views: order of dimensions

    public Tensor transpose(int dim0, int dim1) {
        return Views.TRANSPOSE.call(new Views.Transpose(self(), dim0, dim1));
    }

    /**
     * The transposed matrix; tensors of rank 0 and 1 are returned as they are.
     *
     * @throws ShapeException above rank 2: use {@code transpose(-2, -1)}
     */
    public Tensor t() {
        int rank = self().rank();
        if (rank > 2) {
            throw new ShapeException("t: takes matrices, but got " + self().describe() + "\n  fix: transpose(-2, -1).");
        }
        return rank < 2 ? self() : transpose(0, 1);
    }

    /** Dimension i of the result is dimension {@code dims[i]} of this. */
    public Tensor permute(int... dims) {
        return Views.PERMUTE.call(new Views.Permute(self(), dims));
    }

    /** Takes a dimension out and puts it in again as {@code to}; the others keep their order. */
    public Tensor moveDim(int from, int to) {
        Shape shape = self().shape();
        int rank = shape.rank();
        if (rank == 0) {
            shape.normalize("moveDim", from);
            shape.normalize("moveDim", to);
            return permute();
        }
        List<Integer> order = new ArrayList<>();
        for (int d = 0; d < rank; d++) {
            order.add(d);
        }
        order.add(shape.normalize("moveDim", to), order.remove(shape.normalize("moveDim", from)));
        return permute(order.stream().mapToInt(Integer::intValue).toArray());
    }

    // ---------------------------------------------------------------- views: parts

    /** Elements from {@code start} up to {@code end}; both count from the end when negative, and are cut to what exists. */
    public Tensor slice(int dim, long start, long end) {
        return slice(dim, start, end, 1);
    }

    /** Every {@code step}-th element from {@code start} up to {@code end}. */
    public Tensor slice(int dim, long start, long end, long step) {
        return Views.SLICE.call(new Views.Slice(self(), dim, start, end, step));
    }

    /**
     * {@code length} elements from {@code start} on.
     *
     * @throws ShapeException if they are not all there
     */
    public Tensor narrow(int dim, long start, long length) {
        long size = extent("narrow", dim);
        if (start < 0 || length < 0 || start > size - length) {
            throw new ShapeException("narrow: " + length + " elements from " + start + " do not lie in dimension " + dim
                    + " of size " + size + " in " + self().describe());
        }
        return slice(dim, start, start + length);
    }

    /** The size of a dimension that there must be. */
    private long extent(String op, int dim) {
        return self().size(self().layout().requireDim(op, dim));
    }

    /** One index of a dimension, which is dropped. */
    public Tensor select(int dim, long index) {
        return Views.SELECT.call(new Views.Select(self(), dim, index));
    }

    /** {@code x.at(i, j)}: indices into the first dimensions. */
    public Tensor at(long... indices) {
        Objects.requireNonNull(indices, "indices");
        Tensor t = self();
        for (long i : indices) {
            t = t.select(0, i);
        }
        return t;
    }

    /** The diagonal of two dimensions as a new last one; a positive offset lies above the main one. */
    public Tensor diagonal(long offset, int dim0, int dim1) {
        return Views.DIAGONAL.call(new Views.Diagonal(self(), offset, dim0, dim1));
    }

    /** Consecutive parts of these sizes. */
    public List<Tensor> split(long[] sizes, int dim) {
        return Views.SPLIT.call(new Views.Split(self(), sizes, dim));
    }

    /** Consecutive parts of one size; the last may be smaller. */
    public List<Tensor> split(long size, int dim) {
        long whole = extent("split", dim);
        if (size <= 0) {
            throw new ShapeException("split: size " + size + " must be at least 1");
        }
        long parts = Math.max(1, Sizes.divideUp(whole, size));
        Views.requireFew("split", self(), parts);
        long[] sizes = new long[(int) parts];
        Arrays.fill(sizes, size);
        sizes[sizes.length - 1] = whole - size * (sizes.length - 1);
        return split(sizes, dim);
    }

    /** At most {@code count} parts of one size; the last may be smaller. */
    public List<Tensor> chunk(long count, int dim) {
        if (count <= 0) {
            throw new ShapeException("chunk: " + count + " parts; at least 1 is needed");
        }
        return split(Math.max(1, Sizes.divideUp(extent("chunk", dim), count)), dim);
    }

    /** The slices along a dimension, without it. */
    public List<Tensor> unbind(int dim) {
        return Views.UNBIND.call(new Views.Unbind(self(), dim));
    }

    // ---------------------------------------------------------------- views: other shapes

    /**
     * Sizes of 1 repeated, and new dimensions in front, without a copy; −1 keeps a size. Such a tensor is read-only.
     *
     * @throws ShapeException if another size would have to change
     */
    public Tensor expand(long... sizes) {
        Objects.requireNonNull(sizes, "sizes");
        long[] resolved = sizes.clone();
        int extra = sizes.length - self().rank();
        for (int i = 0; i < sizes.length; i++) {
            if (sizes[i] == -1 && i >= extra) {
                resolved[i] = self().size(i - extra);
            }
        }
        return Views.EXPAND.call(new Views.Expand(self(), resolved));
    }

    public Tensor expandAs(Tensor other) {
        Objects.requireNonNull(other, "other");
        return expand(other.shape().toArray());
    }

    /** The same elements in another shape, without a copy; one size may be −1. */
    public Tensor view(long... sizes) {
        return Views.VIEW.call(new Views.View(self(), sizes));
    }

    /** A view in another shape if that is possible, else a copy. One size may be −1. */
    public Tensor reshape(long... sizes) {
        Shape shape = Layout.inferred("reshape", self().shape(), sizes);
        return self().layout().reshape(shape) != null ? view(sizes) : copy().view(sizes);
    }

    /** All dimensions as one. */
    public Tensor flatten() {
        return reshape(self().numel());
    }

    /** The dimensions from {@code first} to {@code last}, both included, as one. */
    public Tensor flatten(int first, int last) {
        Shape shape = self().shape();
        int a = shape.normalize("flatten", first);
        int b = shape.normalize("flatten", last);
        if (a > b) {
            throw new ShapeException("flatten: dimension " + first + " lies behind " + last + " in " + shape);
        }
        if (shape.rank() == 0) {
            return view(1);
        }
        long[] sizes = new long[shape.rank() - (b - a)];
        long product = 1;
        for (int d = 0; d < shape.rank(); d++) {
            if (d < a) {
                sizes[d] = shape.size(d);
            } else if (d <= b) {
                product *= shape.size(d);
            } else {
                sizes[d - (b - a)] = shape.size(d);
            }
        }
        sizes[a] = product;
        return reshape(sizes);
    }

    /** One dimension as several; one size may be −1. */
    public Tensor unflatten(int dim, long... sizes) {
        Shape shape = self().shape();
        int d = shape.normalize("unflatten", dim);
        if (shape.rank() == 0) {
            throw new ShapeException("unflatten: a 0-d tensor has no dimension to be several\n  fix: view(sizes).");
        }
        long[] parts =
                Layout.inferred("unflatten", Shape.of(self().size(d)), sizes).toArray();
        long[] all = new long[shape.rank() - 1 + parts.length];
        for (int i = 0; i < shape.rank() - 1; i++) {
            all[i < d ? i : i + parts.length] = shape.size(i < d ? i : i + 1);
        }
        System.arraycopy(parts, 0, all, d, parts.length);
        return reshape(all);
    }

    /** Drops the dimension if its size is 1. */
    public Tensor squeeze(int dim) {
        return Views.SQUEEZE.call(new Views.Squeeze(self(), dim));
    }

    /** Drops all dimensions of size 1. */
    public Tensor squeeze() {
        return view(Arrays.stream(self().shape().toArray()).filter(n -> n != 1).toArray());
    }

    /** Inserts a dimension of size 1, which becomes {@code dim}. */
    public Tensor unsqueeze(int dim) {
        return Views.UNSQUEEZE.call(new Views.Unsqueeze(self(), dim));
    }

    // ---------------------------------------------------------------- joined and rearranged copies

    /**
     * Joined along an existing dimension; dtypes promote.
     *
     * @throws ShapeException if the list is empty, or shapes differ in another dimension
     */
    public static Tensor cat(List<Tensor> tensors, int dim) {
        return Joining.CAT.call(new Joining.Cat(tensors, dim));
    }

    /** Tensors of one shape joined along a new dimension. */
    public static Tensor stack(List<Tensor> tensors, int dim) {
        return Joining.STACK.call(new Joining.Stack(tensors, dim));
    }

    /**
     * Surrounded by a value: amounts before and after the last dimension, then the one before it, …; negative amounts
     * cut off.
     */
    public Tensor pad(Number value, long... amounts) {
        return Joining.pad(self(), amounts, value);
    }

    /** The whole put side by side: so often along each dimension; more numbers than dimensions add new ones in front. */
    public Tensor repeat(long... repeats) {
        return Joining.REPEAT.call(new Joining.Repeat(self(), repeats));
    }

    /** What lies on and below a diagonal of the last two dimensions (0: the main one, positive: above); the rest is 0. */
    public Tensor tril(long diagonal) {
        return Rearranging.TRIL.call(new Rearranging.Triangle(self(), diagonal));
    }

    public Tensor tril() {
        return tril(0);
    }

    /** What lies on and above a diagonal of the last two dimensions; the rest is 0. */
    public Tensor triu(long diagonal) {
        return Rearranging.TRIU.call(new Rearranging.Triangle(self(), diagonal));
    }

    public Tensor triu() {
        return triu(0);
    }

    /** In reverse order along these dimensions. */
    public Tensor flip(int... dims) {
        return Rearranging.FLIP.call(new Rearranging.Flip(self(), dims));
    }

    /** Moved along a dimension; what leaves at the end comes back at the beginning. */
    public Tensor roll(long shift, int dim) {
        return Rearranging.ROLL.call(new Rearranging.Roll(self(), shift, dim));
    }

    // ---------------------------------------------------------------- in the same form

    public Tensor zerosLike() {
        return emptyLike().zero_();
    }

    public Tensor onesLike() {
        return emptyLike().fill_(1);
    }

    /** All elements the same, with the shape, dtype and device of this. */
    public Tensor fullLike(Number value) {
        return emptyLike().fill_(value);
    }

    /** Fresh memory of this shape, dtype and device; contents undefined, false for bool. Meta for a meta tensor. */
    public Tensor emptyLike() {
        Tensor t = self();
        if (t.isMeta()) {
            return Tensor.meta(t);
        }
        Tensor fresh = Tensor.allocate(t.shape(), t.dtype(), t.device());
        return t.dtype() == DType.BOOL ? fresh.zero_() : fresh;
    }
}
