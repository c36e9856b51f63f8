// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.CopyOps;
import dev.merapi.ops.Joining;
import dev.merapi.ops.PadMode;
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
public abstract sealed class ShapeMethods extends ActivationMethods permits ArrangeMethods {
    ShapeMethods() {}

    // ---------------------------------------------------------------- copies

    /**
     * A row-major copy in fresh memory.
     *
     * @return a new tensor of this shape, dtype and device
     */
    public Tensor copy() {
        return CopyOps.CAST.call(new CopyOps.Cast(self(), self().dtype()));
    }

    /**
     * Itself if row-major, else a row-major copy.
     *
     * @return this tensor or a copy of it
     */
    public Tensor contiguous() {
        return self().isContiguous() ? open("contiguous") : copy();
    }

    /** Itself, for a method that has nothing to do. */
    private Tensor open(String method) {
        self().requireOpen(method, "x");
        return self();
    }

    /**
     * Itself if it has that dtype, else a converted copy. Floats to int32 and int64: towards 0, saturating, NaN gives 0; to
     * uint8, int8 and int16 the low bits of that int32, as integers to narrower ones keep their low bits; to bool whether it differs from
     * 0, so NaN is true. Floats to narrower ones are rounded once, to nearest even.
     *
     * @param dtype the wanted one
     * @return this tensor or a new one; the gradient is converted back
     */
    public Tensor to(DType dtype) {
        return dtype == self().dtype() ? open("to") : CopyOps.CAST.call(new CopyOps.Cast(self(), dtype));
    }

    /**
     * Itself if it is there, else a copy on that device.
     *
     * @param device the wanted one
     * @return this tensor or a new one; the gradient goes back to this device
     */
    public Tensor to(Device device) {
        return device == self().device() ? open("to") : CopyOps.MOVE.call(new CopyOps.Move(self(), device));
    }

    /**
     * Writes {@code source}, broadcast and converted, into this; returns this.
     *
     * @param source of a shape that broadcasts to this one; any dtype and device
     * @return this tensor
     * @throws ShapeException if it does not broadcast to this shape
     */
    public Tensor copy_(Tensor source) {
        return CopyOps.COPY_INTO.call(new CopyOps.Into(self(), source));
    }

    /**
     * The same memory without the graph; writes show on both sides.
     *
     * @return a view of this memory that is no part of any graph
     */
    public Tensor detach() {
        self().requireOpen("detach", "x");
        return self().viewAs(self().layout(), dev.merapi.dispatch.Context.current());
    }

    // ---------------------------------------------------------------- views: order of dimensions

    /**
     * Two dimensions change places.
     *
     * @param dim0 one dimension, negative from the end
     * @param dim1 the other
     * @return a view of this memory
     */
    public Tensor transpose(int dim0, int dim1) {
        return Views.TRANSPOSE.call(new Views.Transpose(self(), dim0, dim1));
    }

    /**
     * The transposed matrix; tensors of rank 0 and 1 are returned as they are.
     *
     * @return a view of this memory, or this tensor
     * @throws ShapeException above rank 2: use {@code transpose(-2, -1)}
     */
    public Tensor t() {
        int rank = self().rank();
        if (rank > 2) {
            throw new ShapeException("t: takes matrices, but got " + self().describe() + "\n  fix: transpose(-2, -1).");
        }
        return rank < 2 ? self() : transpose(0, 1);
    }

    /**
     * Dimension i of the result is dimension {@code dims[i]} of this.
     *
     * @param dims each dimension once, negative ones from the end
     * @return a view of this memory
     */
    public Tensor permute(int... dims) {
        return Views.PERMUTE.call(new Views.Permute(self(), dims));
    }

    /**
     * Takes a dimension out and puts it in again as {@code to}; the others keep their order.
     *
     * @param from the dimension to move
     * @param to where it stands in the result
     * @return a view of this memory
     */
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

    /**
     * Elements from {@code start} up to {@code end}; both count from the end when negative, and are cut to what exists.
     *
     * @param dim the dimension, negative from the end
     * @param start the first index
     * @param end the index after the last one
     * @return a view of this memory
     */
    public Tensor slice(int dim, long start, long end) {
        return slice(dim, start, end, 1);
    }

    /**
     * Every {@code step}-th element from {@code start} up to {@code end}.
     *
     * @param dim the dimension, negative from the end
     * @param start the first index
     * @param end no index from here on
     * @param step at least 1
     * @return a view of this memory
     */
    public Tensor slice(int dim, long start, long end, long step) {
        return Views.SLICE.call(new Views.Slice(self(), dim, start, end, step));
    }

    /**
     * {@code length} elements from {@code start} on.
     *
     * @param dim the dimension, negative from the end
     * @param start the first index, negative from the end
     * @param length how many, at least 0
     * @return a view of this memory
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

    /**
     * One index of a dimension, which is dropped.
     *
     * @param dim the dimension, negative from the end
     * @param index negative from the end
     * @return a view of this memory with one dimension less
     */
    public Tensor select(int dim, long index) {
        return Views.SELECT.call(new Views.Select(self(), dim, index));
    }

    /**
     * {@code x.at(i, j)}: indices into the first dimensions.
     *
     * @param indices at most one for each dimension, negative from the end
     * @return a view of this memory with a dimension less for each index
     */
    public Tensor at(long... indices) {
        Objects.requireNonNull(indices, "indices");
        Tensor t = self();
        for (long i : indices) {
            t = t.select(0, i);
        }
        return t;
    }

    /**
     * The diagonal of two dimensions as a new last one; a positive offset lies above the main one.
     *
     * @param offset how far above the main diagonal, or below when negative
     * @param dim0 the dimension of the rows
     * @param dim1 the dimension of the columns
     * @return a view of this memory with one dimension less
     */
    public Tensor diagonal(long offset, int dim0, int dim1) {
        return Views.DIAGONAL.call(new Views.Diagonal(self(), offset, dim0, dim1));
    }

    /**
     * Consecutive parts of these sizes.
     *
     * @param sizes they add up to the size of the dimension
     * @param dim the dimension, negative from the end
     * @return as many views of this memory
     */
    public List<Tensor> split(long[] sizes, int dim) {
        return Views.SPLIT.call(new Views.Split(self(), sizes, dim));
    }

    /**
     * Consecutive parts of one size; the last may be smaller.
     *
     * @param size at least 1
     * @param dim the dimension, negative from the end
     * @return views of this memory
     */
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

    /**
     * At most {@code count} parts of one size; the last may be smaller.
     *
     * @param count at least 1
     * @param dim the dimension, negative from the end
     * @return views of this memory; fewer than {@code count} where the size does not suffice
     */
    public List<Tensor> chunk(long count, int dim) {
        if (count <= 0) {
            throw new ShapeException("chunk: " + count + " parts; at least 1 is needed");
        }
        return split(Math.max(1, Sizes.divideUp(extent("chunk", dim), count)), dim);
    }

    /**
     * The slices along a dimension, without it.
     *
     * @param dim the dimension, negative from the end
     * @return as many views as the dimension has elements
     */
    public List<Tensor> unbind(int dim) {
        return Views.UNBIND.call(new Views.Unbind(self(), dim));
    }

    // ---------------------------------------------------------------- views: other shapes

    /**
     * Sizes of 1 repeated, and new dimensions in front, without a copy; −1 keeps a size. Such a tensor is read-only.
     *
     * @param sizes of the result; at least as many as this has dimensions
     * @return a view of this memory; the gradient is summed
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

    /**
     * As {@link #expand}, to the shape of another tensor.
     *
     * @param other whose shape is meant
     * @return a view of this memory; the gradient is summed
     */
    public Tensor expandAs(Tensor other) {
        Objects.requireNonNull(other, "other");
        return expand(other.shape().toArray());
    }

    /**
     * The same elements in another shape, without a copy; one size may be −1.
     *
     * @param sizes of the result; their product is the number of elements
     * @return a view of this memory
     * @throws dev.merapi.error.ShapeException if the numbers of elements differ, or the strides allow no such view
     */
    public Tensor view(long... sizes) {
        return Views.VIEW.call(new Views.View(self(), sizes));
    }

    /**
     * A view in another shape if that is possible, else a copy. One size may be −1.
     *
     * @param sizes of the result; their product is the number of elements
     * @return a view of this memory, or a new tensor
     * @throws dev.merapi.error.ShapeException if the numbers of elements differ
     */
    public Tensor reshape(long... sizes) {
        Shape shape = Layout.inferred("reshape", self().shape(), sizes);
        return self().layout().reshape(shape) != null ? view(sizes) : copy().view(sizes);
    }

    /**
     * All dimensions as one.
     *
     * @return a view or a copy of one dimension, of size 1 for a 0-d tensor
     */
    public Tensor flatten() {
        return reshape(self().numel());
    }

    /**
     * The dimensions from {@code first} to {@code last}, both included, as one.
     *
     * @param first the first of them, negative from the end
     * @param last the last of them, negative from the end
     * @return a view or a copy
     */
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

    /**
     * One dimension as several; one size may be −1.
     *
     * @param dim the dimension, negative from the end
     * @param sizes of the new dimensions; their product is the size of the old one
     * @return a view of this memory
     */
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

    /**
     * Drops the dimension if its size is 1.
     *
     * @param dim the dimension, negative from the end
     * @return a view of this memory; of the same shape if the size is not 1
     */
    public Tensor squeeze(int dim) {
        return Views.SQUEEZE.call(new Views.Squeeze(self(), dim));
    }

    /**
     * Drops all dimensions of size 1.
     *
     * @return a view of this memory
     */
    public Tensor squeeze() {
        return view(Arrays.stream(self().shape().toArray()).filter(n -> n != 1).toArray());
    }

    /**
     * Inserts a dimension of size 1, which becomes {@code dim}.
     *
     * @param dim where it is in the result, from −rank − 1 to rank
     * @return a view of this memory
     */
    public Tensor unsqueeze(int dim) {
        return Views.UNSQUEEZE.call(new Views.Unsqueeze(self(), dim));
    }

    // ---------------------------------------------------------------- joined and rearranged copies

    /**
     * Joined along an existing dimension; dtypes promote.
     *
     * @param tensors at least one; alike in all sizes but that of {@code dim}
     * @param dim the dimension, negative from the end
     * @return a new tensor of the promoted dtype
     * @throws ShapeException if the list is empty, or shapes differ in another dimension
     */
    public static Tensor cat(List<Tensor> tensors, int dim) {
        return Joining.CAT.call(new Joining.Cat(tensors, dim));
    }

    /**
     * Tensors of one shape joined along a new dimension.
     *
     * @param tensors at least one, all of one shape
     * @param dim where the new dimension is in the result
     * @return a new tensor of the promoted dtype
     */
    public static Tensor stack(List<Tensor> tensors, int dim) {
        return Joining.STACK.call(new Joining.Stack(tensors, dim));
    }

    /**
     * Surrounded by a value: amounts before and after the last dimension, then the one before it, …; negative amounts
     * cut off.
     *
     * @param value what the border is filled with
     * @param amounts an even number: before, after, of the last dimension first
     * @return a new tensor
     */
    public Tensor pad(Number value, long... amounts) {
        return Joining.pad(self(), amounts, value);
    }

    /**
     * Surrounded by a border made of its own elements: amounts before and after the last dimension, then the one before it, ….
     *
     * @param mode mirrored, repeated, or coming again
     * @param amounts an even number, none negative: before, after, of the last dimension first
     * @return a new tensor
     */
    public Tensor pad(PadMode mode, long... amounts) {
        return Joining.pad(self(), mode, amounts);
    }

    /**
     * The whole put side by side: so often along each dimension; more numbers than dimensions add new ones in front.
     *
     * @param repeats at least as many as dimensions, each at least 0
     * @return a new tensor
     */
    public Tensor repeat(long... repeats) {
        return Joining.REPEAT.call(new Joining.Repeat(self(), repeats));
    }

    /**
     * What lies on and below a diagonal of the last two dimensions (0: the main one, positive: above); the rest is 0.
     *
     * @param diagonal how far above the main one
     * @return a new tensor of this shape
     */
    public Tensor tril(long diagonal) {
        return Rearranging.TRIL.call(new Rearranging.Triangle(self(), diagonal));
    }

    /**
     * {@link #tril(long)} of the main diagonal.
     *
     * @return a new tensor of this shape
     */
    public Tensor tril() {
        return tril(0);
    }

    /**
     * What lies on and above a diagonal of the last two dimensions; the rest is 0.
     *
     * @param diagonal how far above the main one
     * @return a new tensor of this shape
     */
    public Tensor triu(long diagonal) {
        return Rearranging.TRIU.call(new Rearranging.Triangle(self(), diagonal));
    }

    /**
     * {@link #triu(long)} of the main diagonal.
     *
     * @return a new tensor of this shape
     */
    public Tensor triu() {
        return triu(0);
    }

    /**
     * In reverse order along these dimensions.
     *
     * @param dims the dimensions that are reversed, each once
     * @return a new tensor of this shape
     */
    public Tensor flip(int... dims) {
        return Rearranging.FLIP.call(new Rearranging.Flip(self(), dims));
    }

    /**
     * Moved along a dimension; what leaves at the end comes back at the beginning.
     *
     * @param shift how far; negative towards the beginning
     * @param dim the dimension, negative from the end
     * @return a new tensor of this shape
     */
    public Tensor roll(long shift, int dim) {
        return Rearranging.ROLL.call(new Rearranging.Roll(self(), shift, dim));
    }

    // ---------------------------------------------------------------- in the same form

    /** {@return zeros with the shape, dtype and device of this} */
    public Tensor zerosLike() {
        return emptyLike().zero_();
    }

    /** {@return ones with the shape, dtype and device of this} */
    public Tensor onesLike() {
        return emptyLike().fill_(1);
    }

    /**
     * All elements the same, with the shape, dtype and device of this.
     *
     * @param value what each element is, rounded once to this dtype
     * @return a new tensor
     */
    public Tensor fullLike(Number value) {
        return emptyLike().fill_(value);
    }

    /**
     * Fresh memory of this shape, dtype and device; contents undefined, false for bool. Meta for a meta tensor.
     *
     * @return a new tensor
     */
    public Tensor emptyLike() {
        Tensor t = self();
        if (t.isMeta()) {
            return Tensor.meta(t);
        }
        Tensor fresh = Tensor.allocate(t.shape(), t.dtype(), t.device());
        return t.dtype() == DType.BOOL ? fresh.zero_() : fresh;
    }
}
