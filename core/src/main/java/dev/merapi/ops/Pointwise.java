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
        /**
         * The expression.
         *
         * @param x the first operand, a tensor's element
         * @param y the second, a tensor's element or a scalar
         * @param z the third, likewise
         * @return what to compute
         */
        Expr apply(Expr x, Expr y, Expr z);
    }

    /**
     * Defines an op of one tensor.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from its element to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, UnaryOperator<Expr> f) {
        return define(name, f.apply(Expr.input(0)), 1);
    }

    /**
     * Defines an op of two tensors, which broadcast.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from their elements to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, BinaryOperator<Expr> f) {
        return define(name, f.apply(Expr.input(0), Expr.input(1)), 2);
    }

    /**
     * Defines an op of three tensors, which broadcast.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from their elements to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, Ternary f) {
        return define(name, f.apply(Expr.input(0), Expr.input(1), Expr.input(2)), 3);
    }

    /**
     * Defines an op of one tensor and one scalar, which is given at each call.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from element and scalar to the result
     * @param scalar the scalar's name
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, BinaryOperator<Expr> f, Param scalar) {
        return define(name, f.apply(Expr.input(0), Expr.scalar(0)), 1, scalar);
    }

    /**
     * Defines an op of two tensors and one scalar.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from both elements and the scalar to the result
     * @param scalar the scalar's name
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, Ternary f, Param scalar) {
        return define(name, f.apply(Expr.input(0), Expr.input(1), Expr.scalar(0)), 2, scalar);
    }

    /**
     * Defines an op of one tensor and two scalars.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from element and scalars to the result
     * @param first the name of the first scalar
     * @param second that of the second
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, Ternary f, Param first, Param second) {
        return define(name, f.apply(Expr.input(0), Expr.scalar(0), Expr.scalar(1)), 1, first, second);
    }

    /**
     * Defines an op of any number of tensors and scalars, which are named s0, s1, ….
     *
     * @param name {@code namespace::name}, not yet taken
     * @param tensors how many tensors it takes
     * @param scalars how many scalars
     * @param f from the tensors' elements, then the scalars, to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static PointwiseOp define(String name, int tensors, int scalars, Function<List<Expr>, Expr> f) {
        return define(name, tensors, Signature.unnamed(scalars), f);
    }

    /**
     * Defines an op of any number of tensors and named scalars.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param tensors how many tensors it takes
     * @param scalars their names
     * @param f from the tensors' elements, then the scalars, to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
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
