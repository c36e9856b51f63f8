// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.op.CastPolicy;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.function.BinaryOperator;
import java.util.function.Function;

/** A loss of two tensors of one shape, element by element: three ops of one expression, one for each reduction. */
public final class PairLoss {
    private final String name;
    private final PointwiseOp each;
    private final ReductionOp mean;
    private final ReductionOp sum;

    private PairLoss(String name, List<Param> scalars, Function<List<Expr>, Expr> f) {
        this.name = name;
        this.each = Pointwise.define(name + "_each", 2, scalars, f).autocast(CastPolicy.FLOAT32);
        this.mean = ReductionOp.define(name, 2, scalars, f, Combine.MEAN).autocast(CastPolicy.FLOAT32);
        this.sum = ReductionOp.define(name + "_sum", 2, scalars, f, Combine.SUM).autocast(CastPolicy.FLOAT32);
    }

    public static PairLoss define(String name, BinaryOperator<Expr> f) {
        return new PairLoss(name, List.of(), a -> f.apply(a.get(0), a.get(1)));
    }

    /** With one scalar. */
    public static PairLoss define(String name, Pointwise.Ternary f, Param scalar) {
        return new PairLoss(name, List.of(scalar), a -> f.apply(a.get(0), a.get(1), a.get(2)));
    }

    /**
     * The loss; both operands of one shape, for broadcasting here is nearly always a mistake.
     *
     * @throws ShapeException if the shapes differ
     */
    @SuppressWarnings("NullAway") // a caller may be from code that is not checked for null
    public Tensor call(Tensor x, Tensor y, Losses.Reduction reduction, Number... scalars) {
        if (x == null || y == null || reduction == null) {
            throw new SchemaException(
                    name + ": " + (x == null ? "x" : y == null ? "y" : "reduction") + " is null, but it is required");
        }
        if (!x.shape().equals(y.shape())) {
            throw new ShapeException(Message.of(name + ": shapes differ: " + x.shape() + " and " + y.shape())
                    .fact("x", x.describe())
                    .fact("y", y.describe())
                    .fix("reshape one of them; expand it if broadcasting is meant."));
        }
        List<Tensor> both = List.of(x, y);
        List<Number> values = Arrays.asList(scalars);
        return switch (reduction) {
            case NONE -> each.call(both, values);
            case MEAN -> mean.call(both, values, new int[0], false, null);
            case SUM -> sum.call(both, values, new int[0], false, null);
        };
    }
}
