// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.op.Slotted;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Views: other layouts over the same storage. Those with an inverse that is a view too, or a sum, say so; the rest leave
 * their gradient to the engine.
 */
public final class Views {
    /** Parts that split and unbind make at most: a view costs some hundred bytes. */
    private static final long MOST_PARTS = 1 << 20;

    private Views() {}

    /** The arguments of a view without arrays: all is there if the tensor is. */
    private interface OfOne extends Slotted {
        Tensor x();

        @Override
        default Tensor @Nullable [] slots() {
            Tensor x = x();
            return x == null ? null : new Tensor[] {x};
        }
    }

    /**
     * What {@link #TRANSPOSE} takes.
     *
     * @param x what is seen
     * @param dim0 one dimension; negative ones count from the end
     * @param dim1 the other
     */
    public record Transpose(Tensor x, int dim0, int dim1) implements OfOne {}

    /**
     * What {@link #PERMUTE} takes.
     *
     * @param x what is seen
     * @param dims the dimensions of x in their new order, each once; negative ones count from the end
     */
    public record Permute(Tensor x, int[] dims) implements Slotted {
        @Override
        public Tensor @Nullable [] slots() {
            return x == null || dims == null ? null : new Tensor[] {x};
        }
    }

    /**
     * What {@link #SLICE} takes.
     *
     * @param x what is seen
     * @param dim along which; negative ones count from the end
     * @param start the first index; negative ones count from the end
     * @param end beyond the last one; negative ones count from the end
     * @param step at least 1
     */
    public record Slice(Tensor x, int dim, long start, long end, long step) implements OfOne {}

    /**
     * What {@link #SELECT} takes.
     *
     * @param x what is seen
     * @param dim along which, and which goes; negative ones count from the end
     * @param index negative ones count from the end
     */
    public record Select(Tensor x, int dim, long index) implements OfOne {}

    /**
     * What {@link #EXPAND} takes.
     *
     * @param x what is seen
     * @param sizes of the result: those of x, anything where x has 1, and any further ones in front
     */
    public record Expand(Tensor x, long[] sizes) implements Slotted {
        @Override
        public Tensor @Nullable [] slots() {
            return x == null || sizes == null ? null : new Tensor[] {x};
        }
    }

    /**
     * What {@link #VIEW} takes.
     *
     * @param x what is seen
     * @param sizes of the result, for as many elements; one may be −1, which follows from the others
     */
    public record View(Tensor x, long[] sizes) implements Slotted {
        @Override
        public Tensor @Nullable [] slots() {
            return x == null || sizes == null ? null : new Tensor[] {x};
        }
    }

    /**
     * What {@link #SPLIT} takes.
     *
     * @param x what is seen
     * @param sizes of the parts, which add up to that of x
     * @param dim along which; negative ones count from the end
     */
    public record Split(Tensor x, long[] sizes, int dim) {}

    /**
     * What {@link #DIAGONAL} takes.
     *
     * @param x what is seen, of two dimensions or more
     * @param offset 0 for the main diagonal, positive above it
     * @param dim0 the rows; negative ones count from the end
     * @param dim1 the columns
     */
    public record Diagonal(Tensor x, long offset, int dim0, int dim1) implements OfOne {}

    /**
     * What {@link #SQUEEZE} takes.
     *
     * @param x what is seen
     * @param dim which dimension goes, if its size is 1; negative ones count from the end
     */
    public record Squeeze(Tensor x, int dim) implements OfOne {}

    /**
     * What {@link #UNSQUEEZE} takes.
     *
     * @param x what is seen
     * @param dim where the new dimension stands in the result; negative ones count from the end
     */
    public record Unsqueeze(Tensor x, int dim) implements OfOne {}

    /**
     * What {@link #UNBIND} takes.
     *
     * @param x what is seen
     * @param dim along which, and which goes; negative ones count from the end
     */
    public record Unbind(Tensor x, int dim) implements OfOne {}

    /**
     * What {@link #ALIAS} takes.
     *
     * @param x what is seen
     */
    public record Alias(Tensor x) implements OfOne {}

    /**
     * What {@link #UNFOLD} takes.
     *
     * @param x what is seen
     * @param dim along which; negative ones count from the end
     * @param size of a window, which is the new last dimension
     * @param step from the beginning of a window to that of the next, at least 1
     */
    public record Unfold(Tensor x, int dim, long size, long step) implements OfOne {}

    /**
     * What {@link #AS_STRIDED} takes.
     *
     * @param x what is seen; contiguous
     * @param sizes of the result
     * @param strides of the result, in elements, not negative
     * @param offset of its first element from that of x, in elements
     */
    public record AsStrided(Tensor x, long[] sizes, long[] strides, long offset) {}

    /** What the gradients of windows are made of. */
    record Windows(Shape shape, int dim, long size, long step) {}

    /** What the gradients of strided views are made of. */
    record Strided(Shape shape, long[] sizes, long[] strides, long offset) {}

    /** Two dimensions in each other's place. */
    public static final Op<Transpose, Tensor> TRANSPOSE = Op.define("merapi::transpose", Transpose.class, Tensor.class)
            .view("x", a -> a.x().layout().transpose(a.dim0(), a.dim1()))
            .autograd(
                    (a, out) -> new int[] {a.dim0(), a.dim1()},
                    (context, dims, g) -> Grads.of("x", g.transpose(dims[0], dims[1])))
            .register();

    /** The dimensions in another order. */
    public static final Op<Permute, Tensor> PERMUTE = Op.define("merapi::permute", Permute.class, Tensor.class)
            .view("x", a -> a.x().layout().permute(a.dims()))
            .autograd((a, out) -> inverse(a.dims()), (context, dims, g) -> Grads.of("x", g.permute(dims)))
            .register();

    /** A range of one dimension, by steps. */
    public static final Op<Slice, Tensor> SLICE = Op.define("merapi::slice", Slice.class, Tensor.class)
            .view("x", a -> a.x().layout().slice(a.dim(), a.start(), a.end(), a.step()))
            .register();

    /** One slice of a dimension, which goes. */
    public static final Op<Select, Tensor> SELECT = Op.define("merapi::select", Select.class, Tensor.class)
            .view("x", a -> a.x().layout().select(a.dim(), a.index()))
            .register();

    /** Broadcast, without a copy: several elements of the view are one of x. */
    public static final Op<Expand, Tensor> EXPAND = Op.define("merapi::expand", Expand.class, Tensor.class)
            .view("x", a -> a.x().layout().expand(Shape.of(a.sizes())))
            .autograd((a, out) -> a.x().shape(), (context, shape, g) -> Grads.of("x", g.sumTo(shape)))
            .register();

    /** A view in another shape; refuses where that would need a copy. */
    public static final Op<View, Tensor> VIEW = Op.define("merapi::view", View.class, Tensor.class)
            .view("x", a -> reshaped(a.x(), a.sizes()))
            .autograd((a, out) -> a.x().shape(), (context, shape, g) -> Grads.of("x", g.reshape(shape.toArray())))
            .register();

    /** Consecutive parts along a dimension. */
    public static final Op<Split, List<Tensor>> SPLIT = Op.define("merapi::split", Split.class, Result.tensors())
            .views("x", Views::parts)
            .autograd((a, out) -> new Parts(a.dim()), (context, parts, g) -> {
                // One pass over memory: the gradients of the parts put together again.
                List<Tensor> all = new ArrayList<>();
                for (int i = 0; i < g.size(); i++) {
                    all.add(context.orZeros(g.get(i), i));
                }
                return Grads.of("x", Tensor.cat(all, parts.dim()));
            })
            .register();

    /** What {@code split} keeps. */
    record Parts(int dim) {}

    /** Drops a dimension of size 1. */
    public static final Op<Squeeze, Tensor> SQUEEZE = Op.define("merapi::squeeze", Squeeze.class, Tensor.class)
            .view("x", a -> a.x().layout().squeeze(a.dim()))
            .autograd((a, out) -> a.x().shape(), (context, shape, g) -> Grads.of("x", g.reshape(shape.toArray())))
            .register();

    /** Inserts a dimension of size 1. */
    public static final Op<Unsqueeze, Tensor> UNSQUEEZE = Op.define("merapi::unsqueeze", Unsqueeze.class, Tensor.class)
            .view("x", a -> a.x().layout().unsqueeze(a.dim()))
            .autograd((a, out) -> a.x().shape(), (context, shape, g) -> Grads.of("x", g.reshape(shape.toArray())))
            .register();

    /** The slices along a dimension, without it. */
    public static final Op<Unbind, List<Tensor>> UNBIND = Op.define("merapi::unbind", Unbind.class, Result.tensors())
            .views("x", a -> {
                int dim = a.x().layout().requireDim("unbind", a.dim());
                requireFew("unbind", a.x(), a.x().size(dim));
                List<Layout> layouts = new ArrayList<>();
                for (long i = 0; i < a.x().size(dim); i++) {
                    layouts.add(a.x().layout().select(a.dim(), i));
                }
                return layouts;
            })
            .register();

    /** A diagonal of two dimensions, which go; it is the new last one. */
    public static final Op<Diagonal, Tensor> DIAGONAL = Op.define("merapi::diagonal", Diagonal.class, Tensor.class)
            .view("x", a -> a.x().layout().diagonal(a.offset(), a.dim0(), a.dim1()))
            .register();

    /** The same view again: another variable over the same memory. */
    @SuppressWarnings("NullAway") // nothing is saved
    public static final Op<Alias, Tensor> ALIAS = Op.define("merapi::alias", Alias.class, Tensor.class)
            .view("x", a -> a.x().layout())
            .autograd((a, out) -> null, (context, nothing, g) -> Grads.of("x", g))
            .register();

    /** Windows along a dimension, which may overlap: [.., n, ..] to [.., (n − size) / step + 1, .., size]. */
    public static final Op<Unfold, Tensor> UNFOLD = Op.define("merapi::unfold", Unfold.class, Tensor.class)
            .view("x", Views::windows)
            .autograd(
                    (a, out) -> new Windows(a.x().shape(), a.x().shape().normalize(a.dim()), a.size(), a.step()),
                    (context, s, g) -> {
                        // The n-th element of a window is the step · window + n-th of x: all of an element add up.
                        long count = g.size(s.dim());
                        Tensor of = TensorIndexing.range(g, count, s.step())
                                .view(count, 1)
                                .add(TensorIndexing.range(g, s.size(), 1))
                                .view(count * s.size());
                        Tensor parts = g.moveDim(-1, s.dim() + 1).flatten(s.dim(), s.dim() + 1);
                        return Grads.of("x", Indexing.zeros(s.shape(), g).indexAdd(s.dim(), of, parts));
                    })
            .register();

    /** Any sizes and strides over the elements of x. */
    public static final Op<AsStrided, Tensor> AS_STRIDED = Op.define(
                    "merapi::as_strided", AsStrided.class, Tensor.class)
            .view("x", Views::strided)
            .autograd((a, out) -> new Strided(a.x().shape(), a.sizes(), a.strides(), a.offset()), (context, s, g) -> {
                Tensor of = TensorIndexing.range(g, 1, 1).add(s.offset());
                for (int d = 0; d < s.sizes().length; d++) {
                    of = of.unsqueeze(-1).add(TensorIndexing.range(g, s.sizes()[d], s.strides()[d]));
                }
                Tensor flat = Indexing.zeros(Shape.of(s.shape().numel()), g);
                return Grads.of(
                        "x",
                        flat.indexAdd(0, of.reshape(-1), g.reshape(-1))
                                .view(s.shape().toArray()));
            })
            .register();

    private static Layout windows(Unfold a) {
        Layout x = a.x().layout();
        int d = x.requireDim("unfold", a.dim());
        long n = x.size(d);
        if (a.size() < 0 || a.size() > n || a.step() < 1) {
            throw new ShapeException(Message.of("unfold: windows of " + a.size() + ", each " + a.step()
                            + " on, in a dimension of size " + n)
                    .fact("x", a.x().describe())
                    .fix("0 ≤ size ≤ " + n + ", and a step of at least 1."));
        }
        long count = (n - a.size()) / a.step() + 1;
        long[] sizes = Arrays.copyOf(x.shape().toArray(), x.rank() + 1);
        long[] strides = Arrays.copyOf(x.strides(), x.rank() + 1);
        sizes[x.rank()] = a.size();
        strides[x.rank()] = strides[d];
        sizes[d] = count;
        strides[d] = count > 1 ? strides[d] * a.step() : 0; // of a size of 1 any does
        return Layout.of(Shape.of("unfold", sizes), strides, x.offset());
    }

    private static Layout strided(AsStrided a) {
        Layout x = a.x().layout();
        if (!x.isContiguous()) {
            throw new ShapeException(Message.of("as_strided: strides are of a tensor whose elements lie in order")
                    .fact("x", a.x().dtype() + "" + x)
                    .fix("contiguous(), which may be a copy."));
        }
        Layout view = Layout.of(Shape.of("as_strided", a.sizes()), a.strides(), a.offset());
        if (view.end() > x.numel()) {
            throw new ShapeException(
                    Message.of("as_strided: the last element is the " + view.end() + "th of " + x.numel())
                            .fact("x", a.x().describe())
                            .fact("sizes", Arrays.toString(a.sizes()))
                            .fact("strides", Arrays.toString(a.strides()))
                            .fact("offset", a.offset())
                            .fix("stay within the elements of x."));
        }
        return view.at(x.offset() + a.offset());
    }

    private static int[] inverse(int[] dims) {
        int[] result = new int[dims.length];
        for (int i = 0; i < dims.length; i++) {
            result[Shape.normalize(dims[i], dims.length)] = i;
        }
        return result;
    }

    private static Layout reshaped(Tensor x, long[] sizes) {
        Layout layout = x.layout().reshape(Layout.inferred("view", x.shape(), sizes));
        if (layout == null) {
            throw new ShapeException("view: " + x.dtype() + x.layout() + " cannot be seen as " + Arrays.toString(sizes)
                    + " without copying\n  fix: use reshape, which copies if it must.");
        }
        return layout;
    }

    /**
     * Refuses a list of more than 2²⁰ parts; for those who check before.
     *
     * @param op named in the error
     * @param x what would be divided
     * @param parts into how many
     * @throws ShapeException if a tensor would fall into more parts than a list of them should have
     */
    public static void requireFew(String op, Tensor x, long parts) {
        if (parts > MOST_PARTS) {
            throw new ShapeException(Message.of(
                            op + ": " + parts + " parts, each a tensor of its own; at most " + MOST_PARTS + " are made")
                    .fact("x", x.describe())
                    .fix("take the parts that are needed, by select or slice."));
        }
    }

    private static List<Layout> parts(Split a) {
        long total = 0;
        for (long s : a.sizes()) {
            if (s < 0) {
                throw new ShapeException("split: sizes " + Arrays.toString(a.sizes()) + " may not be negative");
            }
            total = Sizes.add(total, s);
        }
        requireFew("split", a.x(), a.sizes().length);
        if (a.x().rank() == 0 || total != a.x().size(a.dim())) {
            throw new ShapeException("split: sizes " + Arrays.toString(a.sizes()) + " do not add up to dimension "
                    + a.dim() + " of " + a.x().shape());
        }
        List<Layout> layouts = new ArrayList<>();
        long at = 0;
        for (long s : a.sizes()) {
            layouts.add(a.x().layout().slice(a.dim(), at, at + s, 1));
            at += s;
        }
        return layouts;
    }
}
