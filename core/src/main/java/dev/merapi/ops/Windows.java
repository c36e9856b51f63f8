// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;

/** Windows that slide along a dimension: how many there are, their elements side by side, and the sum of such elements. */
public final class Windows {
    private Windows() {}

    /**
     * What {@link #UNFOLD} takes.
     *
     * @param x of any dtype
     * @param dim the dimension, whose place two take: the taps of a window, then the windows
     * @param kernel how many taps a window has
     * @param stride steps between windows
     * @param padding zeros before and after
     * @param dilation steps between the taps of a window
     */
    public record Unfold(Tensor x, int dim, long kernel, long stride, long padding, long dilation) {}

    /**
     * What {@link #FOLD} takes.
     *
     * @param x [.., kernel, windows, ..]
     * @param dim the dimension of the taps, which the windows follow; one takes the place of both
     * @param size of that dimension
     * @param stride steps between windows
     * @param padding what the elements had before and after, which is cut off
     * @param dilation steps between the taps of a window
     */
    public record Fold(Tensor x, int dim, long size, long stride, long padding, long dilation) {}

    /** The elements of each window: [.., n, ..] to [.., kernel, windows, ..]. */
    public static final Op<Unfold, Tensor> UNFOLD = Joining.everywhere(
                    Op.define("merapi::unfold_windows", Unfold.class, Tensor.class), Windows::unfold)
            .stridesOk()
            .shape(a -> {
                Shape shape = a.x().shape();
                int d = a.x().layout().requireDim("unfold", a.dim());
                long windows = count("unfold", a.x(), d, a.kernel(), a.stride(), a.padding(), a.dilation(), false);
                return Tensor.meta(a.x(), replaced(shape, d, 1, a.kernel(), windows));
            })
            .autograd(
                    (a, out) -> new Form(a.dim(), a.x().size(a.dim()), a.stride(), a.padding(), a.dilation()),
                    (context, f, g) -> {
                        int d = f.dim < 0 ? f.dim + g.rank() - 1 : f.dim;
                        return Grads.of(
                                "x", Windows.FOLD.call(new Fold(g, d, f.size, f.stride, f.padding, f.dilation)));
                    })
            .linear("x")
            .register();

    /** What the gradients need. */
    record Form(int dim, long size, long stride, long padding, long dilation) {}

    /** Each element added to where it comes from: the transpose of {@link #UNFOLD}. */
    public static final Op<Fold, Tensor> FOLD = Joining.everywhere(
                    Op.define("merapi::fold_windows", Fold.class, Tensor.class), Windows::fold)
            .stridesOk()
            .shape(a -> {
                int d = a.x().layout().requireDim("fold", a.dim());
                if (d + 1 >= a.x().rank()) {
                    throw new ShapeException("fold: after dimension " + a.dim()
                            + ", of the taps, there must be one of the windows\n  x: " + a.x().describe());
                }
                Tensor out = Tensor.meta(a.x(), replaced(a.x().shape(), d, 2, a.size()));
                long windows = count("fold", out, d, a.x().size(d), a.stride(), a.padding(), a.dilation(), false);
                if (windows != a.x().size(d + 1)) {
                    throw new ShapeException(Message.of("fold: " + a.size() + " elements have " + windows
                                    + " windows, but x has " + a.x().size(d + 1))
                            .fact("x", a.x().describe())
                            .fix("pass the size, stride, padding and dilation that x was unfolded with."));
                }
                return out;
            })
            .autograd(
                    (a, out) -> new Form(
                            a.x().layout().requireDim("fold", a.dim()),
                            a.x().size(a.dim()),
                            a.stride(),
                            a.padding(),
                            a.dilation()),
                    (context, f, g) ->
                            Grads.of("x", UNFOLD.call(new Unfold(g, f.dim, f.size, f.stride, f.padding, f.dilation))))
            .linear("x")
            .register();

    /** Some dimensions from d on replaced by others. */
    private static Shape replaced(Shape shape, int d, int gone, long... sizes) {
        long[] result = new long[shape.rank() - gone + sizes.length];
        for (int i = 0; i < result.length; i++) {
            result[i] =
                    i < d ? shape.size(i) : i < d + sizes.length ? sizes[i - d] : shape.size(i - sizes.length + gone);
        }
        return Shape.of(result);
    }

    private static void unfold(Unfold a, Tensor out) {
        int d = a.x().layout().requireDim("unfold", a.dim());
        if (out.numel() == 0) {
            return;
        }
        if (a.padding() > 0) {
            out.fill_(0);
        }
        for (long tap = 0; tap < a.kernel(); tap++) {
            Taps t = Taps.of(tap * a.dilation() - a.padding(), a.stride(), a.x().size(d), out.size(d + 1));
            if (t.count() > 0) {
                Joining.copyTo(
                        a.x(),
                        t.elements(a.x().layout(), d),
                        out,
                        t.windows(out.layout().select(d, tap), d));
            }
        }
    }

    private static void fold(Fold a, Tensor out) {
        int d = a.x().layout().requireDim("fold", a.dim());
        out.fill_(0);
        if (a.x().numel() == 0) {
            return;
        }
        Context context = Context.current();
        for (long tap = 0; tap < a.x().size(d); tap++) {
            Taps t = Taps.of(tap * a.dilation() - a.padding(), a.stride(), a.size(), a.x().size(d + 1));
            if (t.count() > 0) {
                try (Tensor source =
                                TENSORS.viewAs(a.x(), t.windows(a.x().layout().select(d, tap), d), context);
                        Tensor target = TENSORS.viewAs(out, t.elements(out.layout(), d), context)) {
                    target.add_(source);
                }
            }
        }
    }

    /** The windows from {@code first} on whose tap lies on an element, and where the first one does. */
    private record Taps(long first, long count, long start, long stride) {
        static Taps of(long offset, long stride, long size, long windows) {
            long first = offset >= 0 ? 0 : Sizes.divideUp(-offset, stride);
            long end = offset >= size ? 0 : Math.min(windows, (size - 1 - offset) / stride + 1);
            return new Taps(first, Math.max(0, end - first), offset + first * stride, stride);
        }

        Layout elements(Layout layout, int d) {
            return layout.slice(d, start, start + (count - 1) * stride + 1, stride);
        }

        Layout windows(Layout layout, int d) {
            return layout.slice(d, first, first + count, 1);
        }
    }

    /**
     * How many windows fit along a dimension.
     *
     * @param ceil whether one counts that begins inside, or in the padding before, and ends outside
     */
    static long count(
            String op, Tensor x, int dim, long kernel, long stride, long padding, long dilation, boolean ceil) {
        if (kernel < 1 || stride < 1 || padding < 0 || dilation < 1) {
            throw new ShapeException(
                    Message.of(op + ": kernel, stride and dilation must be at least 1, padding at least 0")
                            .fact("kernel", kernel)
                            .fact("stride", stride)
                            .fact("padding", padding)
                            .fact("dilation", dilation));
        }
        // Exact, and so is every position within: kernels compute with what passed here.
        long padded = Sizes.add(x.size(dim), Sizes.multiply(2, padding));
        long covered = Sizes.add(Sizes.multiply(dilation, kernel - 1), 1);
        long room = padded - covered;
        if (room < 0) {
            throw new ShapeException(Message.of(op + ": the kernel covers " + covered
                            + " elements, but the padded image has " + padded + " along dimension " + dim)
                    .fact("x", x.describe())
                    .fix("a smaller kernel or dilation, or more padding."));
        }
        if (!ceil) {
            return Sizes.add(room / stride, 1);
        }
        long windows = Sizes.add(Sizes.divideUp(room, stride), 1);
        return (windows - 1) * stride >= x.size(dim) + padding ? windows - 1 : windows;
    }
}
