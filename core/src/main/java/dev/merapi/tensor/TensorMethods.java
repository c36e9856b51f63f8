// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.ops.CopyOps;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Views;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;

/** The operations of a tensor: one line each, to the op that does it. */
public abstract sealed class TensorMethods extends PointwiseMethods permits Tensor {
    TensorMethods() {}

    // ---------------------------------------------------------------- copies

    /** A row-major copy in fresh memory. */
    public Tensor copy() {
        return CopyOps.CAST.call(new CopyOps.Cast(self(), self().dtype()));
    }

    /** Itself if row-major, else a row-major copy. */
    public Tensor contiguous() {
        return self().isContiguous() ? self() : copy();
    }

    /** Itself if it has that dtype, else a converted copy. */
    public Tensor to(DType dtype) {
        return dtype == self().dtype() ? self() : CopyOps.CAST.call(new CopyOps.Cast(self(), dtype));
    }

    /** Itself if it is there, else a copy on that device. */
    public Tensor to(Device device) {
        return device == self().device() ? self() : CopyOps.MOVE.call(new CopyOps.Move(self(), device));
    }

    /** Writes {@code source}, broadcast and converted, into this; returns this. */
    public Tensor copy_(Tensor source) {
        return CopyOps.COPY_INTO.call(new CopyOps.Into(self(), source));
    }

    // ---------------------------------------------------------------- views

    public Tensor transpose(int dim0, int dim1) {
        return Views.TRANSPOSE.call(new Views.Transpose(self(), dim0, dim1));
    }

    public Tensor permute(int... dims) {
        return Views.PERMUTE.call(new Views.Permute(self(), dims));
    }

    public Tensor diagonal(long offset, int dim0, int dim1) {
        return Views.DIAGONAL.call(new Views.Diagonal(self(), offset, dim0, dim1));
    }

    public Tensor slice(int dim, long start, long end) {
        return Views.SLICE.call(new Views.Slice(self(), dim, start, end, 1));
    }

    public Tensor select(int dim, long index) {
        return Views.SELECT.call(new Views.Select(self(), dim, index));
    }

    public Tensor expand(long... sizes) {
        return Views.EXPAND.call(new Views.Expand(self(), sizes));
    }

    public Tensor view(long... sizes) {
        return Views.VIEW.call(new Views.View(self(), sizes));
    }

    /** A view in another shape if that is possible, else a copy. One size may be −1. */
    public Tensor reshape(long... sizes) {
        Shape shape = Layout.inferred("reshape", self().shape(), sizes);
        return self().layout().reshape(shape) != null ? view(sizes) : copy().view(sizes);
    }

    public List<Tensor> split(long[] sizes, int dim) {
        return Views.SPLIT.call(new Views.Split(self(), sizes, dim));
    }

    /** The same memory without the graph; writes show on both sides. */
    public Tensor detach() {
        return self().viewAs(self().layout(), dev.merapi.dispatch.Context.current());
    }

    // ---------------------------------------------------------------- reductions

    public Tensor sum(int... dims) {
        return Reductions.SUM.call(new Reductions.Over(self(), dims, false));
    }

    /** Sums over what broadcasting repeated, so that the result has that shape. */
    public Tensor sumTo(Shape shape) {
        Tensor t = self();
        if (t.shape().equals(shape)) {
            return t;
        }
        int extra = t.rank() - shape.rank();
        int[] dims = new int[t.rank()];
        int n = 0;
        for (int d = 0; d < t.rank(); d++) {
            if (d < extra || shape.size(d - extra) == 1 && t.size(d) != 1) {
                dims[n++] = d;
            }
        }
        Tensor s = n == 0 ? t : sum(java.util.Arrays.copyOf(dims, n));
        return s.shape().equals(shape) ? s : s.reshape(shape.toArray());
    }

    /** True where any element is not 0; 0-d. */
    public Tensor any() {
        return ne(0).sum().ne(0);
    }

    // ---------------------------------------------------------------- factories

    public Tensor zerosLike() {
        return emptyLike().zero_();
    }

    /** All elements the same, with the shape, dtype and device of this. */
    public Tensor fullLike(Number value) {
        return emptyLike().fill_(value);
    }

    public Tensor onesLike() {
        return emptyLike().fill_(1);
    }

    /** Fresh memory of this shape, dtype and device; contents undefined. Meta for a meta tensor. */
    public Tensor emptyLike() {
        Tensor t = self();
        return t.isMeta() ? Tensor.meta(t) : Tensor.allocate(t.shape(), t.dtype(), t.device());
    }

    /** The only element as a double. */
    public double item() {
        Tensor t = self();
        if (t.numel() != 1) {
            throw new dev.merapi.error.ShapeException("item: " + t.describe() + " has " + t.numel() + " elements");
        }
        return Elements.of(t).getDouble(0);
    }
}
