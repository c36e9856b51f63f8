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

    /**
     * A loss by its expression; registers the ops {@code name_each}, {@code name} (the mean) and {@code name_sum}.
     *
     * @param name such as {@code demo::log_cosh}
     * @param f from x and y to the loss of one element
     * @return the loss, with gradients of every order
     * @throws dev.merapi.error.RegistrationException if one of the names is taken
     */
    public static PairLoss define(String name, BinaryOperator<Expr> f) {
        return new PairLoss(name, List.of(), a -> f.apply(a.get(0), a.get(1)));
    }

    /**
     * With one scalar.
     *
     * @param name such as {@code demo::huber}
     * @param f from x, y and the scalar to the loss of one element
     * @param scalar the name of the scalar
     * @return the loss, with gradients of every order
     * @throws dev.merapi.error.RegistrationException if one of the names is taken
     */
    public static PairLoss define(String name, Pointwise.Ternary f, Param scalar) {
        return new PairLoss(name, List.of(scalar), a -> f.apply(a.get(0), a.get(1), a.get(2)));
    }

    /**
     * The loss; both operands of one shape, for broadcasting here is nearly always a mistake.
     *
     * @param x predictions
     * @param y targets, of the same shape
     * @param reduction what becomes of the losses of single elements
     * @param scalars as many as the loss was defined with
     * @return of the shape of x for NONE, else 0-d
     * @throws ShapeException if the shapes differ
     * @throws SchemaException if an argument is null
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
