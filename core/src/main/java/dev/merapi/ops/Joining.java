// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Tensors put together, padded, repeated. The kernels are strided copies into parts of the output: the same everywhere. */
public final class Joining {
    private Joining() {}

    /**
     * What {@link #CAT} takes.
     *
     * @param tensors at least one; shapes may differ in {@code dim} only, and dtypes promote
     * @param dim along which they are joined; negative ones count from the end
     */
    public record Cat(List<Tensor> tensors, int dim) {}

    /**
     * What {@link #STACK} takes.
     *
     * @param tensors at least one, all of one shape; dtypes promote
     * @param dim where the new dimension stands in the result
     */
    public record Stack(List<Tensor> tensors, int dim) {}

    /**
     * What {@link #PAD} takes.
     *
     * @param x of any dtype
     * @param amounts before and after the last dimension, then the one before it, …; negative ones cut off
     * @param value what is put there, converted to the dtype of x
     */
    public record Pad(Tensor x, long[] amounts, Number value) {}

    /**
     * What {@link #REPEAT} takes.
     *
     * @param x of any dtype
     * @param repeats how often each dimension comes again; at least as many numbers as dimensions, further ones stand
     *     in front
     */
    public record Repeat(Tensor x, long[] repeats) {}

    /** What {@code cat} keeps: how the result was divided. */
    record Parts(int dim, long[] sizes, List<DType> dtypes) {}

    /** The tensors one after the other along a dimension. */
    public static final Op<Cat, Tensor> CAT = everywhere(
                    Op.define("merapi::cat", Cat.class, Tensor.class), Joining::cat)
            .stridesOk()
            .shape(Joining::catShape)
            .autograd(
                    (a, out) -> new Parts(
                            a.dim(),
                            a.tensors().stream().mapToLong(t -> t.size(a.dim())).toArray(),
                            a.tensors().stream().map(Tensor::dtype).toList()),
                    (context, parts, g) -> {
                        List<@Nullable Tensor> gradients = new ArrayList<>();
                        long at = 0;
                        for (int i = 0; i < parts.sizes().length; i++) {
                            long size = parts.sizes()[i];
                            gradients.add(
                                    context.needs("tensors", i)
                                            ? g.slice(parts.dim(), at, at + size)
                                                    .to(parts.dtypes().get(i))
                                            : null);
                            at += size;
                        }
                        return Grads.ofList("tensors", gradients);
                    })
            .linear("tensors")
            .register();

    /** The tensors side by side along a new dimension. */
    public static final Op<Stack, Tensor> STACK = Op.define("merapi::stack", Stack.class, Tensor.class)
            .compose(a -> {
                for (Tensor t : a.tensors()) {
                    if (!t.shape().equals(a.tensors().get(0).shape())) {
                        throw new ShapeException(
                                "stack: shapes differ: " + a.tensors().get(0).shape() + " and " + t.shape()
                                        + "\n  fix: cat joins along an existing dimension, where sizes may differ.");
                    }
                }
                return Scope.scoped(() -> CAT.call(new Cat(
                        a.tensors().stream().map(t -> t.unsqueeze(a.dim())).toList(), a.dim())));
            })
            .register();

    /** x with a border of one value, or cut at its border. */
    public static final Op<Pad, Tensor> PAD = everywhere(
                    Op.define("merapi::pad", Pad.class, Tensor.class), Joining::pad)
            .stridesOk()
            .shape(a -> Tensor.meta(a.x(), padded(a)))
            .autograd(
                    (a, out) -> Arrays.stream(a.amounts()).map(n -> -n).toArray(),
                    (context, back, g) -> Grads.of("x", pad(g, back, 0)))
            .jvp((a, out, t) -> pad(t.orZeros("x"), a.amounts(), 0))
            .register();

    /** x again and again along its dimensions, a copy: {@code repeat} of PyTorch. */
    public static final Op<Repeat, Tensor> REPEAT = Op.define("merapi::repeat", Repeat.class, Tensor.class)
            .compose(a -> {
                int rank = a.repeats().length;
                int extra = rank - a.x().rank();
                if (extra < 0) {
                    throw new ShapeException("repeat: " + Arrays.toString(a.repeats()) + " has fewer numbers than "
                            + a.x().describe() + " has dimensions\n  fix: put ones in front.");
                }
                // [a, b] times (p, q): [1, a, 1, b] expands to [p, a, q, b], and is then seen as [pa, qb].
                long[] apart = new long[2 * rank];
                long[] wide = new long[2 * rank];
                long[] result = new long[rank];
                for (int d = 0; d < rank; d++) {
                    long size = d < extra ? 1 : a.x().size(d - extra);
                    apart[2 * d] = 1;
                    apart[2 * d + 1] = size;
                    wide[2 * d] = a.repeats()[d];
                    wide[2 * d + 1] = size;
                    result[d] = a.repeats()[d] * size;
                    if (a.repeats()[d] < 0 || Math.multiplyHigh(a.repeats()[d], size) != 0 || result[d] < 0) {
                        throw new ShapeException("repeat: " + a.repeats()[d] + " times " + size
                                + " along dimension " + d + " of " + a.x().describe()
                                + " is negative, or more than 2^63 - 1");
                    }
                }
                return Scope.scoped(
                        () -> a.x().reshape(apart).expand(wide).copy().view(result));
            })
            .register();

    /** The same kernel, made of other ops, for all devices. */
    static <A extends Record> Op<A, Tensor> everywhere(Op<A, Tensor> op, Kernel<A, Tensor> kernel) {
        return op.reference(kernel).kernel(DeviceType.CUDA, kernel).kernel(DeviceType.CUDA_SIM, kernel);
    }

    /**
     * x with a border of one value. Gradient: x.
     *
     * @param x of any dtype
     * @param amounts before and after the last dimension, then the one before it, …; negative ones cut off
     * @param value what is put there, converted to the dtype of x
     * @return a copy, in which each dimension has its amounts more
     * @throws ShapeException if the amounts are no pairs, are more than x has dimensions, or cut off more than there
     *     is
     */
    public static Tensor pad(Tensor x, long[] amounts, Number value) {
        return PAD.call(new Pad(x, amounts, value));
    }

    /**
     * A border made of the tensor's own elements, in amounts before and after the last dimension, then the one before it, ….
     * Gradient: x, to any order.
     *
     * @param x of any dtype
     * @param mode what the border is made of
     * @param amounts none negative, two for each dimension from the last on
     * @return a copy, in which each dimension has its amounts more
     * @throws ShapeException if an amount is negative, or the tensor has too few elements for it: reflect needs one
     *     more than the amount, circular as many, replicate one
     */
    public static Tensor pad(Tensor x, PadMode mode, long... amounts) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(mode, "mode");
        Objects.requireNonNull(amounts, "amounts");
        padded(new Pad(x, amounts, 0));
        for (int i = 0; i < amounts.length / 2; i++) {
            int d = x.rank() - 1 - i;
            long most = Math.max(amounts[2 * i], amounts[2 * i + 1]);
            boolean fits = mode == PadMode.CIRCULAR
                    ? most <= x.size(d)
                    : mode == PadMode.REFLECT ? most < x.size(d) : x.size(d) > 0;
            if (Math.min(amounts[2 * i], amounts[2 * i + 1]) < 0 || most > 0 && !fits) {
                throw new ShapeException("pad: " + mode + " cannot put " + amounts[2 * i] + " before and "
                        + amounts[2 * i + 1] + " after dimension " + d + " of " + x.describe()
                        + "\n  fix: amounts from 0 to the size, less one to reflect; slice cuts off.");
            }
        }
        Tensor result = x;
        for (int i = 0; i < amounts.length / 2; i++) {
            result = bordered(result, mode, x.rank() - 1 - i, amounts[2 * i], amounts[2 * i + 1]);
        }
        return result == x ? x.copy() : result;
    }

    private static Tensor bordered(Tensor x, PadMode mode, int d, long before, long after) {
        long n = x.size(d);
        List<Tensor> parts = new ArrayList<>();
        if (before > 0) {
            parts.add(
                    switch (mode) {
                        case REFLECT -> x.slice(d, 1, before + 1).flip(d);
                        case REPLICATE -> repeated(x.slice(d, 0, 1), d, before);
                        case CIRCULAR -> x.slice(d, n - before, n);
                    });
        }
        parts.add(x);
        if (after > 0) {
            parts.add(
                    switch (mode) {
                        case REFLECT -> x.slice(d, n - 1 - after, n - 1).flip(d);
                        case REPLICATE -> repeated(x.slice(d, n - 1, n), d, after);
                        case CIRCULAR -> x.slice(d, 0, after);
                    });
        }
        return parts.size() == 1 ? x : CAT.call(new Cat(parts, d));
    }

    private static Tensor repeated(Tensor one, int d, long times) {
        return one.expand(one.shape().with(d, times).toArray());
    }

    private static Tensor catShape(Cat a) {
        if (a.tensors().isEmpty()) {
            throw new ShapeException("cat: the list of tensors is empty");
        }
        Tensor first = a.tensors().get(0);
        if (first.rank() == 0) {
            throw new ShapeException("cat: 0-d tensors have no dimension to be joined along\n  fix: use stack.");
        }
        int dim = first.shape().normalize(a.dim());
        DType dtype = first.dtype();
        long total = 0;
        for (int i = 0; i < a.tensors().size(); i++) {
            Tensor t = a.tensors().get(i);
            if (t.rank() != first.rank()
                    || !t.shape().with(dim, 0).equals(first.shape().with(dim, 0))) {
                throw new ShapeException(Message.of("cat: shapes may differ in dimension " + dim + " only")
                        .fact("tensor 0", first.describe())
                        .fact("tensor " + i, t.describe()));
            }
            total = Math.addExact(total, t.size(dim));
            dtype = DType.promote(dtype, t.dtype());
        }
        return Tensor.meta(first.shape().with(dim, total), dtype, first.device());
    }

    private static void cat(Cat a, Tensor out) {
        int dim = out.shape().normalize(a.dim());
        long at = 0;
        for (Tensor t : a.tensors()) {
            long end = at + t.size(dim);
            if (t.numel() > 0) {
                copyTo(t, t.layout(), out, out.layout().slice(dim, at, end, 1));
            }
            at = end;
        }
    }

    private static Shape padded(Pad a) {
        int given = a.amounts().length;
        if (given % 2 != 0 || given / 2 > a.x().rank()) {
            throw new ShapeException(
                    "pad: " + Arrays.toString(a.amounts()) + " are not (before, after) pairs for at most "
                            + a.x().rank() + " dimensions of " + a.x().describe()
                            + "\n  fix: begin with the last dimension: left, right, top, bottom, …");
        }
        long[] sizes = a.x().shape().toArray();
        for (int i = 0; i < given / 2; i++) {
            int d = sizes.length - 1 - i;
            long before = a.amounts()[2 * i];
            long after = a.amounts()[2 * i + 1];
            long most = Long.MAX_VALUE / 4;
            if (Math.max(Math.max(before, after), sizes[d]) > most) {
                throw new ShapeException("pad: amounts " + before + " and " + after + " on dimension " + d + " of "
                        + a.x().shape() + " make more elements than a tensor can have");
            }
            long size = sizes[d] + Math.max(before, -most) + Math.max(after, -most);
            if (size < 0) {
                throw new ShapeException("pad: amounts " + before + " and " + after + " cut more than dimension " + d
                        + " of " + a.x().shape() + " has");
            }
            sizes[d] = size;
        }
        return Shape.of(sizes);
    }

    private static void pad(Pad a, Tensor out) {
        Layout from = a.x().layout();
        Layout to = out.layout();
        for (int i = 0; i < a.amounts().length / 2; i++) {
            int d = out.rank() - 1 - i;
            long before = a.amounts()[2 * i];
            long start = Math.max(0, -before);
            long end = Math.min(a.x().size(d), out.size(d) - before);
            from = from.slice(d, start, Math.max(start, end), 1);
            to = to.slice(d, start + before, Math.max(start, end) + before, 1);
        }
        if (to.numel() != out.numel()) {
            out.fill_(a.value());
        }
        if (to.numel() > 0) {
            copyTo(a.x(), from, out, to);
        }
    }

    static void copyTo(Tensor x, Layout from, Tensor out, Layout to) {
        Context context = Context.current();
        try (Tensor source = TENSORS.viewAs(x, from, context);
                Tensor target = TENSORS.viewAs(out, to, context)) {
            target.copy_(source);
        }
    }
}
