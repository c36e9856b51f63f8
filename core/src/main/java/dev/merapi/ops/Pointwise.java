// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Variable;
import dev.merapi.ops.code.Signature;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BinaryOperator;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Defines ops by a scalar expression; gradients of any order and the kernels of all backends are derived from it:
 *
 * <pre>{@code
 * static final PointwiseOp SILU = Pointwise.define("demo::silu", x -> x.mul(sigmoid(x)));
 * static final PointwiseOp HUBER = Pointwise.define("demo::huber", (x, y, beta) -> …, Param.scalar("beta"));
 * }</pre>
 *
 * <p>Operands broadcast; dtypes promote as in PyTorch; float16 and bfloat16 compute in float32 and round once. Within an
 * expression floating nodes are computed in the widest floating dtype that they meet; integers keep their dtype, and wrap
 * in it, until they meet a floating number: {@code x.mul(y).add(z)} with int32 x and y and float64 z multiplies in int32.
 * Cast the operands where that is not meant. Built-in ops convert all their operands first, as PyTorch's do.
 */
public final class Pointwise {
    private Pointwise() {}

    /** Three operands to an expression. */
    @FunctionalInterface
    public interface Ternary {
        Expr apply(Expr x, Expr y, Expr z);
    }

    public static PointwiseOp define(String name, UnaryOperator<Expr> f) {
        return define(name, f.apply(Expr.input(0)), 1);
    }

    public static PointwiseOp define(String name, BinaryOperator<Expr> f) {
        return define(name, f.apply(Expr.input(0), Expr.input(1)), 2);
    }

    public static PointwiseOp define(String name, Ternary f) {
        return define(name, f.apply(Expr.input(0), Expr.input(1), Expr.input(2)), 3);
    }

    /** One tensor and one scalar. */
    public static PointwiseOp define(String name, BinaryOperator<Expr> f, Param scalar) {
        return define(name, f.apply(Expr.input(0), Expr.scalar(0)), 1, scalar);
    }

    /** Two tensors and one scalar. */
    public static PointwiseOp define(String name, Ternary f, Param scalar) {
        return define(name, f.apply(Expr.input(0), Expr.input(1), Expr.scalar(0)), 2, scalar);
    }

    /** One tensor and two scalars. */
    public static PointwiseOp define(String name, Ternary f, Param first, Param second) {
        return define(name, f.apply(Expr.input(0), Expr.scalar(0), Expr.scalar(1)), 1, first, second);
    }

    /** Any number of tensors and scalars, which are named s0, s1, …: {@code f} gets the tensors, then the scalars. */
    public static PointwiseOp define(String name, int tensors, int scalars, Function<List<Expr>, Expr> f) {
        return define(name, tensors, Signature.unnamed(scalars), f);
    }

    /** Any number of tensors and named scalars: {@code f} gets the tensors, then the scalars. */
    public static PointwiseOp define(String name, int tensors, List<Param> scalars, Function<List<Expr>, Expr> f) {
        return define(name, f.apply(operands(tensors, scalars.size())), tensors, scalars.toArray(new Param[0]));
    }

    static List<Expr> operands(int tensors, int scalars) {
        List<Expr> operands = new ArrayList<>();
        for (int i = 0; i < tensors; i++) {
            operands.add(Expr.input(i));
        }
        for (int i = 0; i < scalars; i++) {
            operands.add(Expr.scalar(i));
        }
        return operands;
    }

    private static PointwiseOp define(String name, Expr root, int tensors, Param... scalars) {
        Expr own = ofOwn(name, root, tensors, scalars.length);
        return new PointwiseOp(name, List.of(own), Signature.of(name, tensors, List.of(scalars))).register();
    }

    /** @throws SchemaException if the expression has a variable that the definition did not hand out */
    static Expr ofOwn(String name, @Nullable Expr root, int tensors, int scalars) {
        if (root == null) {
            throw new SchemaException(
                    Message.of(name + ": the expression is null").fix("return what to compute"));
        }
        boolean given = Variable.uses(root, Variable.Role.INPUT).length() <= tensors
                && Variable.uses(root, Variable.Role.SCALAR).length() <= scalars
                && Variable.uses(root, Variable.Role.OUTPUT).isEmpty()
                && Variable.uses(root, Variable.Role.GRADIENT).isEmpty();
        if (!given) {
            throw new SchemaException(Message.of(name + ": " + root + " has a variable of another definition")
                    .fact("tensors", tensors)
                    .fact("scalars", scalars)
                    .fix("use the variables that are handed to the function, and no others"));
        }
        return root;
    }
}
