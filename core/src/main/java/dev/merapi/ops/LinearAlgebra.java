// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Products of matrices. Transposed operands are not copied: kernels take strides. */
public final class LinearAlgebra {
    private LinearAlgebra() {}

    /**
     * What {@link #MATMUL} takes.
     *
     * @param a [.., M, K]
     * @param b [.., K, N], of the same dtype
     */
    public record Matmul(Tensor a, Tensor b) {}

    /**
     * What {@link #LINEAR} takes.
     *
     * @param x [.., in]
     * @param weight [out, in]
     * @param bias [out], or absent
     */
    public record Linear(Tensor x, Tensor weight, @Nullable Tensor bias) {}

    /**
     * a·b for matrices of rank 2 and more; leading dimensions broadcast. Any dtype but bool, both alike. {@link #matmul}
     * takes vectors too.
     */
    public static final Op<Matmul, Tensor> MATMUL = Op.define("merapi::matmul", Matmul.class, Tensor.class)
            .stridesOk()
            .shape(LinearAlgebra::product)
            .autograd((a, out) -> a, LinearAlgebra::matmulBackward)
            .linear("a", "b")
            .autocast(CastPolicy.LOWER)
            .register();

    /** x·weightᵀ + bias. */
    public static final Op<Linear, Tensor> LINEAR = Op.define("merapi::linear", Linear.class, Tensor.class)
            .shape(LinearAlgebra::mapped)
            .autograd((a, out) -> new SavedLinear(a.x(), a.weight(), a.bias() != null), LinearAlgebra::linearBackward)
            .linear("x, bias", "weight, bias")
            .autocast(CastPolicy.LOWER)
            .register();

    /**
     * What the gradients of {@link #LINEAR} are made of.
     *
     * @param x [.., in]
     * @param weight [out, in]
     * @param hasBias whether there is a bias, of which nothing else needs to be known
     */
    public record SavedLinear(Tensor x, Tensor weight, boolean hasBias) {}

    // ---------------------------------------------------------------- shapes

    private static Tensor product(Matmul m) {
        Tensor a = m.a();
        Tensor b = m.b();
        requireSame("matmul", a, "a", b, "b");
        if (a.rank() < 2 || b.rank() < 2) {
            throw new ShapeException(Message.of("matmul: the op takes matrices, but one of the operands has rank "
                            + Math.min(a.rank(), b.rank()))
                    .fact("a", a.describe())
                    .fact("b", b.describe())
                    .fix("call a.matmul(b), which takes vectors too."));
        }
        if (a.size(-1) != b.size(-2)) {
            Message message = Message.of("matmul: inner dimensions differ: a.size(-1) = " + a.size(-1)
                            + ", b.size(-2) = " + b.size(-2))
                    .fact("a", a.describe())
                    .fact("b", b.describe());
            if (a.size(-1) == b.size(-1)) {
                message.fix("b.transpose(-2, -1) makes the shapes fit.");
            } else if (a.size(-2) == b.size(-2)) {
                message.fix("a.transpose(-2, -1) makes the shapes fit.");
            }
            throw new ShapeException(message);
        }
        Shape batch = a.rank() == 2 && b.rank() == 2
                ? Shape.SCALAR
                : Shape.broadcast("matmul", leading(a.shape(), 2), leading(b.shape(), 2));
        long[] sizes = Arrays.copyOf(batch.toArray(), batch.rank() + 2);
        sizes[batch.rank()] = a.size(-2);
        sizes[batch.rank() + 1] = b.size(-1);
        return Tensor.meta(Shape.of(sizes), a.dtype(), a.device());
    }

    private static Shape leading(Shape shape, int dropped) {
        return Shape.of(Arrays.copyOf(shape.toArray(), shape.rank() - dropped));
    }

    static Tensor mapped(Linear l) {
        Tensor x = l.x();
        Tensor w = l.weight();
        Tensor bias = l.bias();
        requireSame("linear", x, "x", w, "weight");
        if (w.rank() != 2 || x.rank() == 0 || x.size(-1) != w.size(1)) {
            Message message = Message.of("linear: x [.., in] and weight [out, in] do not fit"
                            + (w.rank() == 2 && x.rank() > 0
                                    ? ": x.size(-1) = " + x.size(-1) + ", weight.size(1) = " + w.size(1)
                                    : ""))
                    .fact("x", x.describe())
                    .fact("weight", w.describe());
            if (w.rank() == 2 && x.rank() > 0 && x.size(-1) == w.size(0)) {
                message.fix("weight.t() makes the shapes fit.");
            }
            throw new ShapeException(message);
        }
        if (bias != null) {
            requireSame("linear", x, "x", bias, "bias");
            if (bias.rank() != 1 || bias.size(0) != w.size(0)) {
                throw new ShapeException(
                        Message.of("linear: bias must be [" + w.size(0) + "], the first size of weight")
                                .fact("bias", bias.describe())
                                .fact("weight", w.describe()));
            }
        }
        return Tensor.meta(x, x.shape().with(-1, w.size(0)));
    }

    static void requireSame(String op, Tensor a, String nameA, Tensor b, String nameB) {
        requireSameDType(op, a, nameA, b, nameB);
        if (a.dtype() == DType.BOOL) {
            throw new DTypeException(op + ": is not defined for bool\n  fix: convert with to(DType.INT64).");
        }
    }

    static void requireSameDType(String op, Tensor a, String nameA, Tensor b, String nameB) {
        if (a.dtype() != b.dtype()) {
            throw new DTypeException(Message.of(op + ": dtypes differ: " + a.dtype() + " and " + b.dtype())
                    .fact(nameA, a.describe())
                    .fact(nameB, b.describe())
                    .fix("convert one with to(dtype); this op does not promote."));
        }
    }

    // ---------------------------------------------------------------- gradients

    private static Grads matmulBackward(BackwardContext context, Matmul m, Tensor g) {
        Tensor a = m.a();
        Tensor b = m.b();
        Tensor da = null;
        Tensor db = null;
        if (context.needs("a")) {
            da = matmul(g, b.transpose(-2, -1));
        }
        if (context.needs("b")) {
            // One product over all rows instead of a batch that would be summed.
            db = b.rank() == 2 && a.rank() > 2 ? rows(a).t().matmul(rows(g)) : matmul(a.transpose(-2, -1), g);
        }
        // Where a batch was broadcast the engine sums.
        return Grads.of("a", da).and("b", db);
    }

    private static Grads linearBackward(BackwardContext context, SavedLinear s, Tensor g) {
        Tensor dx = context.needs("x") ? matmul(g, s.weight) : null;
        Tensor rows = context.needs("weight") || s.hasBias && context.needs("bias") ? rows(g) : g;
        Tensor dw = context.needs("weight") ? matmul(rows.t(), rows(s.x)) : null;
        Tensor db = s.hasBias && context.needs("bias") ? rows.sum(0) : null;
        return Grads.of("x", dx).and("weight", dw).and("bias", db);
    }

    /** All but the last dimension as one. */
    private static Tensor rows(Tensor t) {
        long n = 1;
        for (int d = 0; d < t.rank() - 1; d++) {
            n *= t.size(d);
        }
        return t.rank() == 2 ? t : t.reshape(n, t.size(-1));
    }

    // ---------------------------------------------------------------- for people

    /**
     * a·b. Vectors count as a row on the left and as a column on the right, and that dimension goes again; leading
     * dimensions of matrices broadcast.
     *
     * @param a [K], [M, K] or [.., M, K]
     * @param b [K], [K, N] or [.., K, N], of the same dtype
     * @return [.., M, N], without M where a is a vector and without N where b is one
     * @throws ShapeException if the inner sizes differ, or one is 0-d
     * @throws DTypeException if the dtypes differ, or are bool
     */
    public static Tensor matmul(Tensor a, Tensor b) {
        Objects.requireNonNull(a, "a");
        Objects.requireNonNull(b, "b");
        if (a.rank() >= 2 && b.rank() >= 2) {
            return MATMUL.call(new Matmul(a, b));
        }
        if (a.rank() == 0 || b.rank() == 0) {
            throw new ShapeException(Message.of("merapi::matmul", "one of the operands is 0-d")
                    .fact("a", a.describe())
                    .fact("b", b.describe())
                    .fix("use mul for products with a scalar."));
        }
        if (a.size(-1) != b.size(b.rank() == 1 ? 0 : -2)) {
            throw new ShapeException(Message.of(
                            "merapi::matmul",
                            "inner sizes differ: " + a.size(-1) + " and " + b.size(b.rank() == 1 ? 0 : -2))
                    .fact("a", a.describe())
                    .fact("b", b.describe())
                    .fix("a vector has the size of the dimension that it is multiplied along."));
        }
        requireSame("merapi::matmul", a, "a", b, "b");
        Tensor left = a.rank() == 1 ? a.unsqueeze(0) : a;
        Tensor right = b.rank() == 1 ? b.unsqueeze(1) : b;
        Tensor out = MATMUL.call(new Matmul(left, right));
        out = b.rank() == 1 ? out.squeeze(-1) : out;
        return a.rank() == 1 ? out.squeeze(b.rank() == 1 ? -1 : -2) : out;
    }

    /**
     * x·weightᵀ + bias, over the last dimension of x. Gradient: x, weight, bias, to any order.
     *
     * @param x [.., in]
     * @param weight [out, in], of the same dtype
     * @param bias [out], or null for none
     * @return [.., out]
     * @throws ShapeException if the sizes do not fit
     * @throws DTypeException if the dtypes differ, or are bool
     */
    public static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias) {
        return LINEAR.call(new Linear(x, weight, bias));
    }
}
