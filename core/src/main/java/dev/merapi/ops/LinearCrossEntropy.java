// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A linear map to classes and the cross entropy of what it gives, of which only a chunk of rows is in memory at a time.
 *
 * <p>A chunk has about as many logits as the weight has elements, so that adding its part of the weight's gradient costs
 * little beside the products. Where the loss is one number and gradients will be wanted, they are computed in the forward
 * call while a chunk is there: what is kept for backward has the form of x, weight and bias, and backward multiplies it by
 * the gradient that comes in, in place where nobody else needs it. So there are three products, as in the composition. For
 * {@link Reduction#NONE}, whose rows get gradients of their own, backward computes the logits again: four products.
 *
 * <p>When a graph is created in backward, the gradient is the composition's, with all of the logits, and has gradients of
 * every order.
 */
public final class LinearCrossEntropy {
    private static final String OP = "linear_cross_entropy";
    private static final int LEAST_ROWS = 128;

    private LinearCrossEntropy() {}

    /**
     * What {@link #LINEAR_CROSS_ENTROPY} takes.
     *
     * @param x [rows, in], floating
     * @param weight [classes, in], of the same dtype
     * @param bias [classes], or absent
     * @param targets [rows], int64
     * @param ignoreIndex rows with this target count for nothing
     * @param labelSmoothing from 0 to 1: how much of the target is spread over all classes
     * @param reduction what becomes of the losses of single elements
     * @param wantX whether the forward call computes this gradient, if the loss is one number; without it backward
     *     does
     * @param wantWeight the same, of the weight
     * @param wantBias the same, of the bias
     */
    public record Args(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            Tensor targets,
            long ignoreIndex,
            double labelSmoothing,
            Reduction reduction,
            boolean wantX,
            boolean wantWeight,
            boolean wantBias) {}

    /**
     * What {@link #LINEAR_CROSS_ENTROPY} gives; all but the loss is internal.
     *
     * @param loss [rows] for NONE, else 0-d, in the compute dtype
     * @param lse log Σ exp(logits) of each row, in the compute dtype
     * @param totalWeight float64: how many rows count
     * @param dx gradient of the sum of all losses, of the form of x; [0] if it is not computed here, as the others
     * @param dweight in the compute dtype, for it is summed up over the chunks
     * @param dbias in the compute dtype
     */
    public record Result(Tensor loss, Tensor lse, Tensor totalWeight, Tensor dx, Tensor dweight, Tensor dbias) {}

    /** What the gradient is made of. */
    record Saved(Args args, Tensor lse, Tensor totalWeight, Tensor dx, Tensor dweight, Tensor dbias) {}

    /** −log softmax(x·weightᵀ + bias)[target], reduced; see the class for how. */
    public static final Op<Args, Result> LINEAR_CROSS_ENTROPY = Op.define(
                    "merapi::linear_cross_entropy", Args.class, Result.class)
            .internal("lse", "totalWeight", "dx", "dweight", "dbias")
            .shape(LinearCrossEntropy::form)
            .autograd(
                    (a, out) -> new Saved(a, out.lse(), out.totalWeight(), out.dx(), out.dweight(), out.dbias()),
                    (context, s, g) -> gradient(context, s, g.loss()))
            .autocast(CastPolicy.LOWER)
            .register();

    /** The kernel of every device: ops, on one chunk after the other. Targets are checked already. */
    public static final Kernel<Args, Result> PROGRAM = LinearCrossEntropy::run;

    static Tensor call(
            Tensor x,
            Tensor weight,
            @Nullable Tensor bias,
            Tensor targets,
            long ignoreIndex,
            double labelSmoothing,
            Reduction reduction) {
        String op = "merapi::" + OP;
        Objects.requireNonNull(x, "x").requireOpen(op, "x");
        Objects.requireNonNull(weight, "weight");
        Objects.requireNonNull(targets, "targets").requireOpen(op, "targets");
        Objects.requireNonNull(reduction, "reduction");
        if (x.rank() == 0 || !x.shape().without(-1).equals(targets.shape())) {
            throw unfit(op, "x must be [.., in] and targets [..]", x, weight, targets);
        }
        Shape shape = targets.shape();
        boolean grad = Context.current().isGradEnabled();
        Tensor loss = LINEAR_CROSS_ENTROPY
                .call(new Args(
                        x.rank() == 2 ? x : x.reshape(targets.numel(), x.size(-1)),
                        weight,
                        bias,
                        targets.rank() == 1 ? targets : targets.reshape(-1),
                        ignoreIndex,
                        labelSmoothing,
                        reduction,
                        grad && x.requiresGrad(),
                        grad && weight.requiresGrad(),
                        grad && bias != null && bias.requiresGrad()))
                .loss();
        return reduction != Reduction.NONE || shape.rank() == 1 ? loss : loss.reshape(shape.toArray());
    }

    // ---------------------------------------------------------------- form

    private static Result form(Args a) {
        Tensor x = a.x();
        Softmax.requireFloating(OP, x);
        Losses.requireIndices(OP, a.targets());
        Form.requireNumber(OP, "labelSmoothing", a.labelSmoothing(), 0, 1);
        if (x.rank() != 2 || a.targets().rank() != 1 || x.size(0) != a.targets().size(0)) {
            throw unfit(OP, "x must be [rows, in] and targets [rows]", x, a.weight(), a.targets());
        }
        var unused = LinearAlgebra.mapped(new LinearAlgebra.Linear(x, a.weight(), a.bias()));
        DType compute = x.dtype().computeType();
        Shape rows = a.targets().shape();
        return new Result(
                Tensor.meta(a.reduction() == Reduction.NONE ? rows : Shape.SCALAR, compute, x.device()),
                Tensor.meta(rows, compute, x.device()),
                Tensor.meta(Shape.SCALAR, DType.FLOAT64, x.device()),
                kept(a, a.wantX(), x, x.dtype()),
                kept(a, a.wantWeight(), a.weight(), compute),
                kept(a, a.wantBias() && a.bias() != null, a.bias(), compute));
    }

    private static Tensor kept(Args a, boolean wanted, @Nullable Tensor like, DType dtype) {
        Shape shape = like != null && wanted && a.reduction() != Reduction.NONE ? like.shape() : Shape.of(0);
        return Tensor.meta(shape, dtype, a.x().device());
    }

    private static ShapeException unfit(String op, String what, Tensor x, Tensor weight, Tensor targets) {
        return new ShapeException(Message.of(op + ": " + what)
                .fact("x", x.describe())
                .fact("weight", weight.describe())
                .fact("targets", targets.describe()));
    }

    // ---------------------------------------------------------------- chunks

    /** What is done with the logits of the rows from {@code from} to {@code to}. */
    private interface Chunk {
        void run(Tensor logits, long from, long to);
    }

    private static void eachChunk(Args a, Chunk body) {
        long size = Math.max(LEAST_ROWS, a.x().size(1));
        long rows = a.x().size(0);
        for (long from = 0; from < rows; from += size) {
            long to = Math.min(rows, from + size);
            try (Scope scope = TENSORS.openScope(Context.current())) {
                body.run(LinearAlgebra.linear(a.x().slice(0, from, to), a.weight(), a.bias()), from, to);
            }
        }
    }

    /** Gradients that chunks add to; null where none is wanted. */
    private record Sums(
            Args args,
            @Nullable Tensor dx,
            @Nullable Tensor dweight,
            @Nullable Tensor dbias) {
        /** @param d gradient of the logits of these rows */
        void add(Tensor d, long from, long to) {
            if (dx != null) {
                dx.slice(0, from, to).copy_(d.matmul(args.weight()));
            }
            if (dweight != null) {
                sum(dweight, d.t().matmul(args.x().slice(0, from, to)), from);
            }
            if (dbias != null) {
                sum(dbias, d.sum(0), from);
            }
        }

        private static void sum(Tensor to, Tensor part, long from) {
            if (from == 0) {
                to.copy_(part);
            } else {
                to.add_(part);
            }
        }

        /** Without rows nothing is added. */
        void begin() {
            if (args.x().size(0) == 0) {
                if (dweight != null) {
                    dweight.zero_();
                }
                if (dbias != null) {
                    dbias.zero_();
                }
            }
        }
    }

    private static void run(Args a, Result out) {
        Dispatcher.apart(LINEAR_CROSS_ENTROPY.definition(), a, own -> compute(own, out));
    }

    private static void compute(Args a, Result out) {
        DType compute = out.lse().dtype();
        Sums sums = new Sums(a, present(out.dx()), present(out.dweight()), present(out.dbias()));
        boolean gradients = sums.dx != null || sums.dweight != null || sums.dbias != null;
        try (Scope scope = TENSORS.openScope(Context.current())) {
            sums.begin();
            Tensor one = Tensor.ones(Shape.SCALAR, compute, a.x().device());
            Tensor losses = TENSORS.allocate(a.targets().shape(), compute, a.x().device());
            eachChunk(a, (logits, from, to) -> {
                Tensor targets = a.targets().slice(0, from, to);
                Losses.CrossEntropyResult each = losses(logits, targets, a);
                losses.slice(0, from, to).copy_(each.loss());
                out.lse().slice(0, from, to).copy_(each.lse());
                if (gradients) {
                    sums.add(over(logits, one, targets, each.lse(), each.totalWeight(), Reduction.SUM, a), from, to);
                }
            });
            out.totalWeight()
                    .copy_(a.targets().ne(a.ignoreIndex()).to(DType.FLOAT64).sum());
            if (a.reduction() == Reduction.NONE) {
                out.loss().copy_(losses);
            } else {
                Tensor sum = losses.to(DType.FLOAT64).sum();
                out.loss().copy_((a.reduction() == Reduction.SUM ? sum : sum.div(out.totalWeight())).to(compute));
            }
        }
    }

    private static @Nullable Tensor present(Tensor t) {
        return t.rank() == 1 && t.size(0) == 0 ? null : t;
    }

    /** Of each row, with what is internal to the op. */
    private static Losses.CrossEntropyResult losses(Tensor logits, Tensor targets, Args a) {
        Losses.CrossEntropy args =
                new Losses.CrossEntropy(logits, targets, null, a.ignoreIndex(), a.labelSmoothing(), Reduction.NONE);
        return Dispatcher.belowAutograd(
                Losses.CROSS_ENTROPY.definition(),
                args,
                new @Nullable Tensor[] {logits, targets, null},
                Context.current());
    }

    /** The gradient of a chunk's logits, written over them. */
    private static Tensor over(
            Tensor logits, Tensor grad, Tensor targets, Tensor lse, Tensor totalWeight, Reduction reduction, Args a) {
        return Losses.CROSS_ENTROPY_BACKWARD_INTO.call(new Losses.CrossEntropyBackward(
                grad, logits, targets, null, lse, totalWeight, a.ignoreIndex(), a.labelSmoothing(), reduction));
    }

    // ---------------------------------------------------------------- gradients

    private static Grads gradient(BackwardContext context, Saved s, Tensor g) {
        Args a = s.args;
        boolean x = context.needs("x");
        boolean weight = context.needs("weight");
        boolean bias = a.bias() != null && context.needs("bias");
        Tensor[] d;
        if (context.createGraph() || g.isMeta()) {
            d = composed(s, g, x, weight, bias);
        } else if (x && present(s.dx) == null
                || weight && present(s.dweight) == null
                || bias && present(s.dbias) == null) {
            d = again(s, g, x, weight, bias);
        } else {
            d = scaled(context, s, g, x, weight, bias);
        }
        return Grads.of("x", d[0]).and("weight", d[1]).and("bias", d[2]).and("targets", (Tensor) null);
    }

    /** From what the forward call kept. */
    private static @Nullable Tensor[] scaled(
            BackwardContext context, Saved s, Tensor g, boolean x, boolean weight, boolean bias) {
        Tensor factor = g;
        if (s.args.reduction() == Reduction.MEAN) {
            // Where no row counts the gradients are 0, and stay so.
            Tensor mean = g.to(DType.FLOAT64).div(s.totalWeight);
            factor = mean.where(s.totalWeight.ne(0), 0).to(g.dtype());
        }
        DType dtype = s.args.x().dtype();
        return new @Nullable Tensor[] {
            x ? scaled(context, s.dx, factor, dtype) : null,
            weight ? scaled(context, s.dweight, factor, dtype) : null,
            bias ? scaled(context, s.dbias, factor, dtype) : null
        };
    }

    private static Tensor scaled(BackwardContext context, Tensor kept, Tensor factor, DType dtype) {
        Tensor room = context.room(kept);
        return (room == null ? kept.mul(factor) : room.mul_(factor)).to(dtype);
    }

    /** From logits that are computed again, a chunk at a time. */
    private static @Nullable Tensor[] again(Saved s, Tensor g, boolean x, boolean weight, boolean bias) {
        Args a = s.args;
        Sums sums = new Sums(
                a,
                x ? fresh(a.x(), a.x().dtype()) : null,
                weight ? fresh(a.weight(), s.lse.dtype()) : null,
                bias ? fresh(Objects.requireNonNull(a.bias()), s.lse.dtype()) : null);
        sums.begin();
        eachChunk(a, (logits, from, to) -> {
            Tensor grad = a.reduction() == Reduction.NONE ? g.slice(0, from, to) : g;
            Tensor lse = s.lse.slice(0, from, to);
            Tensor d = over(logits, grad, a.targets().slice(0, from, to), lse, s.totalWeight, a.reduction(), a);
            sums.add(d, from, to);
        });
        DType dtype = a.x().dtype();
        return new @Nullable Tensor[] {
            sums.dx,
            sums.dweight == null ? null : sums.dweight.to(dtype),
            sums.dbias == null ? null : sums.dbias.to(dtype)
        };
    }

    private static Tensor fresh(Tensor like, DType dtype) {
        return TENSORS.allocate(like.shape(), dtype, like.device());
    }

    /** By ops that have gradients themselves. */
    private static @Nullable Tensor[] composed(Saved s, Tensor g, boolean x, boolean weight, boolean bias) {
        Args a = s.args;
        Tensor d = Losses.CROSS_ENTROPY_BACKWARD.call(new Losses.CrossEntropyBackward(
                g,
                LinearAlgebra.linear(a.x(), a.weight(), a.bias()),
                a.targets(),
                null,
                s.lse,
                s.totalWeight,
                a.ignoreIndex(),
                a.labelSmoothing(),
                a.reduction()));
        return new @Nullable Tensor[] {
            x ? d.matmul(a.weight()) : null, weight ? d.t().matmul(a.x()) : null, bias ? d.sum(0) : null
        };
    }
}
