// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Derivative;
import dev.merapi.expr.ir.Promotion;
import dev.merapi.expr.ir.Variable;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.op.tree.Tree;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.Signature;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * An op that is one scalar expression, or several over the same operands. Its backward is another such op, derived for
 * just the gradients that a pass wants, all of them in one pass over memory; and so on for every order.
 */
public final class PointwiseOp {
    private static final int ARITIES = 4;

    private final String name;
    private final Signature signature;
    private final PointwiseCode code;
    private final Op<? extends Record, ?> op;
    private final boolean single;
    private final PointwiseBackward backward;
    private final PointwiseTangents tangents;
    private volatile @Nullable Op<PointwiseArgs.Into, Tensor> inPlace;

    /**
     * Saved for backward: what any gradient might need; the rest is null.
     *
     * @param broadcast shapes of the operands that were broadcast and want a gradient; null if there are none
     */
    record Saved(
            @Nullable Tensor[] inputs,
            @Nullable Tensor[] outputs,
            List<Number> scalars,
            @Nullable Shape @Nullable [] broadcast)
            implements Tree.Branch {
        @Override
        public Saved map(UnaryOperator<@Nullable Tensor> replacement) {
            return new Saved(Tree.map(inputs, replacement), Tree.map(outputs, replacement), scalars, broadcast);
        }
    }

    /** The forms of the operands of a step function, whose gradients are zeros. */
    record Flat(List<Shape> shapes, List<DType> dtypes) {
        static Flat of(Tensor[] operands) {
            return new Flat(
                    Arrays.stream(operands).map(Tensor::shape).toList(),
                    Arrays.stream(operands).map(Tensor::dtype).toList());
        }
    }

    PointwiseOp(String name, List<Expr> roots, Signature signature) {
        int inputs = signature.inputs();
        Map<String, List<String>> names = signature.elements();
        this.name = name;
        this.signature = signature;
        this.code = new PointwiseCode(roots, inputs, Promotion.of(name));
        this.single = roots.size() == 1;
        this.backward = new PointwiseBackward(name, code, signature);
        this.tangents = new PointwiseTangents(name, code, signature);
        this.op = !single
                ? finish(Op.define(name, PointwiseArgs.Many.class, Result.tensors(), names))
                : inputs == 1
                        ? finish(Op.define(name, PointwiseArgs.X.class, Tensor.class, names))
                        : inputs == 2
                                ? finish(Op.define(name, PointwiseArgs.XY.class, Tensor.class, names))
                                : inputs == ARITIES - 1
                                        ? finish(Op.define(name, PointwiseArgs.XYZ.class, Tensor.class, names))
                                        : finish(Op.define(name, PointwiseArgs.Many.class, Tensor.class, names));
    }

    PointwiseOp register() {
        op.register();
        return this;
    }

    /**
     * What automatic mixed precision does to the operands; without this nothing: they promote by themselves.
     *
     * @param policy which dtype they are brought to within {@code Autocast}
     * @return this op
     */
    public PointwiseOp autocast(CastPolicy policy) {
        op.autocast(policy);
        return this;
    }

    @SuppressWarnings("unchecked")
    private <A extends Record, R> Op<A, R> finish(Op<A, R> bare) {
        bare.shape(a -> (R) meta((PointwiseArgs) a)).stridesOk().code(code);
        boolean discrete = !Derivative.exists(code.roots());
        if (discrete && code.roots().stream().noneMatch(Derivative::isStep)) {
            return bare.nonDifferentiable();
        }
        if (discrete) {
            return bare.autograd(
                            (a, out) -> Flat.of(((PointwiseArgs) a).tensors()), (context, flat, g) -> zeros(flat, g))
                    .jvp((a, out, t) -> {
                        Tensor[] zeros = outputs(out);
                        zeros = Arrays.stream(zeros).map(Tensor::zerosLike).toArray(Tensor[]::new);
                        return bare.result().rebuild(out, zeros);
                    });
        }
        return bare.autograd(
                        (a, out) -> backward.save((PointwiseArgs) a, outputs(out)),
                        (context, saved, g) -> backward(context, saved, g))
                .jvp((a, out, t) -> {
                    PointwiseArgs args = (PointwiseArgs) a;
                    Tensor[] results = outputs(out);
                    return bare.result()
                            .rebuild(out, tangents.tangents(args.tensors(), args.scalars(), results, t.slots()));
                });
    }

    /** The outputs of a result of this op. */
    @SuppressWarnings("unchecked")
    static Tensor[] outputs(Object result) {
        return result instanceof Tensor t ? new Tensor[] {t} : ((List<Tensor>) result).toArray(new Tensor[0]);
    }

    // ---------------------------------------------------------------- forward

    /** {@return the op itself, to be inspected, overridden, or called by its record of arguments} */
    public Op<? extends Record, ?> op() {
        return op;
    }

    /** The tangents of the results, null for zero; see {@link PointwiseTangents}. */
    @Nullable
    Tensor[] tangents(Tensor[] operands, List<Number> values, Tensor[] results, @Nullable Tensor[] given) {
        return tangents.tangents(operands, values, results, given);
    }

    /**
     * For an op of one tensor.
     *
     * @param x the operand
     * @return a new tensor of its shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    public Tensor call(Tensor x) {
        return call1(x, List.of());
    }

    /**
     * For an op of one tensor and a scalar.
     *
     * @param x the operand
     * @param scalar the number
     * @return a new tensor of its shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    public Tensor call(Tensor x, Number scalar) {
        return call1(x, List.of(scalar));
    }

    /**
     * For an op of one tensor and two scalars.
     *
     * @param x the operand
     * @param first the first number
     * @param second the second
     * @return a new tensor of its shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    public Tensor call(Tensor x, Number first, Number second) {
        return call1(x, List.of(first, second));
    }

    @SuppressWarnings("unchecked")
    private Tensor call1(Tensor x, List<Number> values) {
        requireArity(1, values.size());
        return ((Op<PointwiseArgs.X, Tensor>) op).call(new PointwiseArgs.X(x, values));
    }

    /**
     * For an op of two tensors.
     *
     * @param x the first operand
     * @param y the second, broadcast with it
     * @return a new tensor of the broadcast shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    public Tensor call(Tensor x, Tensor y) {
        return call2(x, y, List.of());
    }

    /**
     * For an op of two tensors and a scalar.
     *
     * @param x the first operand
     * @param y the second, broadcast with it
     * @param scalar the number
     * @return a new tensor of the broadcast shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    public Tensor call(Tensor x, Tensor y, Number scalar) {
        return call2(x, y, List.of(scalar));
    }

    @SuppressWarnings("unchecked")
    private Tensor call2(Tensor x, Tensor y, List<Number> values) {
        requireArity(2, values.size());
        return ((Op<PointwiseArgs.XY, Tensor>) op).call(new PointwiseArgs.XY(x, y, values));
    }

    /**
     * For an op of three tensors.
     *
     * @param x the first operand
     * @param y the second
     * @param z the third; all broadcast together
     * @return a new tensor of the broadcast shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    @SuppressWarnings("unchecked")
    public Tensor call(Tensor x, Tensor y, Tensor z) {
        requireArity(3, 0);
        return ((Op<PointwiseArgs.XYZ, Tensor>) op).call(new PointwiseArgs.XYZ(x, y, z, List.of()));
    }

    /**
     * For an op of any number of tensors and scalars.
     *
     * @param inputs the operands, which broadcast together
     * @param values the numbers, in order
     * @return a new tensor of the broadcast shape, in the dtype of the expression
     * @throws ShapeException if the op takes another number of tensors or scalars, or shapes do not broadcast
     */
    public Tensor call(List<Tensor> inputs, List<Number> values) {
        Objects.requireNonNull(inputs, "inputs");
        Objects.requireNonNull(values, "values");
        return (Tensor) Objects.requireNonNull(callAny(inputs, values));
    }

    @SuppressWarnings("unchecked")
    @Nullable
    Object callAny(List<Tensor> inputs, List<Number> values) {
        requireArity(inputs.size(), values.size());
        if (single && inputs.size() == 1) {
            return call1(inputs.get(0), values);
        }
        if (single && inputs.size() == 2) {
            return call2(inputs.get(0), inputs.get(1), values);
        }
        if (single && inputs.size() == 3) {
            return ((Op<PointwiseArgs.XYZ, Tensor>) op)
                    .call(new PointwiseArgs.XYZ(inputs.get(0), inputs.get(1), inputs.get(2), values));
        }
        return ((Op<PointwiseArgs.Many, ?>) op).call(new PointwiseArgs.Many(inputs, values));
    }

    private void requireArity(int tensors, int values) {
        signature.require(name, tensors, values);
    }

    private PointwiseCode.Specialized specialize(Tensor[] inputs, List<Number> values) {
        try {
            return code.specialize(inputs, values);
        } catch (DTypeException e) {
            throw new DTypeException(name + ": " + e.getMessage());
        }
    }

    private Shape common(Tensor[] inputs) {
        Shape shape = inputs[0].shape();
        for (int i = 1; i < inputs.length; i++) {
            shape = Shape.broadcast(name, shape, inputs[i].shape());
        }
        return shape;
    }

    private Object meta(PointwiseArgs args) {
        Tensor[] inputs = args.tensors();
        requireArity(inputs.length, args.scalars().size());
        Shape shape = common(inputs);
        PointwiseCode.Specialized s = specialize(inputs, args.scalars());
        s.requireFitting(name, signature, args.scalars());
        if (single) {
            return like(inputs, shape, s, 0);
        }
        Tensor[] all = new Tensor[code.roots().size()];
        for (int k = 0; k < all.length; k++) {
            all[k] = like(inputs, shape, s, k);
        }
        return Arrays.asList(all);
    }

    /** An output of the broadcast shape; shares the layout object of an operand where it can. */
    private static Tensor like(Tensor[] inputs, Shape shape, PointwiseCode.Specialized s, int k) {
        for (Tensor t : inputs) {
            if (t.shape() == shape) {
                return Tensor.meta(t, s.output(k));
            }
        }
        return Tensor.meta(shape, s.output(k), inputs[0].device());
    }

    // ---------------------------------------------------------------- in place

    /**
     * Writes the result into {@code x}, converted to its dtype. {@code inputs} usually begin with {@code x} itself. Where
     * a gradient is wanted the op runs out of place, so that nothing that backward needs is lost.
     *
     * @param x what is written, of a shape that the result broadcasts to
     * @param inputs as many as the op has tensors
     * @param values as many as it has scalars
     * @return x
     * @throws ShapeException if the result does not fit into x
     * @throws DTypeException if the kind of the result is above that of x, as floats are above integers
     */
    public Tensor into(Tensor x, List<Tensor> inputs, List<Number> values) {
        Op<PointwiseArgs.Into, Tensor> into = inPlace;
        if (into == null) {
            into = defineInPlace();
        }
        PointwiseArgs.Into args = new PointwiseArgs.Into(x, inputs, values);
        return isWidened(x, inputs, values)
                ? Dispatcher.expand(into.definition(), args, Context.current())
                : into.call(args);
    }

    /**
     * Whether a result of 16 bits goes into a wider tensor: it is rounded to its own dtype first, as if it had been
     * computed apart, which happens where a gradient is recorded. A kernel would store more digits.
     */
    private boolean isWidened(@Nullable Tensor x, @Nullable List<Tensor> inputs, @Nullable List<Number> values) {
        if (x == null || inputs == null || values == null || x.dtype().byteSize() <= 2) {
            return false;
        }
        for (Tensor t : inputs) {
            if (t != null && t.dtype().isFloating() && t.dtype().byteSize() == 2) {
                requireArity(inputs.size(), values.size());
                DType result = specialize(inputs.toArray(new Tensor[0]), values).output(0);
                return result.isFloating() && result.byteSize() == 2;
            }
        }
        return false;
    }

    private synchronized Op<PointwiseArgs.Into, Tensor> defineInPlace() {
        if (inPlace == null) {
            String ownName = name + "_";
            inPlace = Op.define(ownName, PointwiseArgs.Into.class, Tensor.class, signature.elements())
                    .mutates("x")
                    .returnsMutated()
                    .stridesOk()
                    .shape(a -> {
                        Tensor[] inputs = a.tensors();
                        requireArity(inputs.length, a.scalars().size());
                        Shape shape = common(inputs);
                        if (!Shape.broadcast(ownName, a.x().shape(), shape).equals(a.x().shape())) {
                            throw new ShapeException(ownName + ": the result of shape " + shape + " does not fit into "
                                    + a.x().describe());
                        }
                        requireCastable(a.x(), code.specialize(inputs, a.scalars()));
                        code.specialize(inputs, a.scalars(), a.x()).requireFitting(ownName, signature, a.scalars());
                        return a.x();
                    })
                    .code(code)
                    .compose(a -> a.x().copy_(value(a)));
        }
        return inPlace;
    }

    /** What is written while a gradient is recorded. Where it is made of scalars alone, it has the target's dtype. */
    private Tensor value(PointwiseArgs.Into a) {
        if (!Variable.uses(code.roots().get(0), Variable.Role.INPUT).isEmpty()) {
            return call(readBefore(a), a.scalars());
        }
        Tensor fresh = a.x().emptyLike();
        return into(fresh, Collections.nCopies(code.inputs(), fresh), a.scalars());
    }

    /** The operands, with a copy of the tensor that will be written where backward needs its old value. */
    private List<Tensor> readBefore(PointwiseArgs.Into a) {
        BitSet read = backward.inputsUsed(a.inputs());
        List<Tensor> operands = new ArrayList<>(a.inputs());
        for (int i = read.nextSetBit(0); i >= 0; i = read.nextSetBit(i + 1)) {
            if (operands.get(i) == a.x()) {
                operands.set(i, a.x().copy());
            }
        }
        return operands;
    }

    private void requireCastable(Tensor x, PointwiseCode.Specialized s) {
        if (s.output(0).kind().compareTo(x.dtype().kind()) > 0) {
            throw new DTypeException(name + "_: the result is " + s.output(0) + ", which cannot be stored in "
                    + x.describe() + "\n  fix: convert the tensor with to(dtype) first.");
        }
    }

    // ---------------------------------------------------------------- backward

    private Grads backward(BackwardContext context, Saved saved, @Nullable Object g) {
        @Nullable
        Tensor[] gradients = g instanceof List<?> list ? list.toArray(new Tensor[0]) : new Tensor[] {(Tensor) g};
        return named(backward.gradients(context, saved, gradients));
    }

    private Grads zeros(Flat flat, Object g) {
        Tensor like =
                Arrays.stream(outputs(g)).filter(Objects::nonNull).findFirst().orElseThrow();
        @Nullable Tensor[] result = new Tensor[code.inputs()];
        for (int i = 0; i < result.length; i++) {
            Shape shape = flat.shapes.get(i);
            DType dtype = flat.dtypes.get(i);
            result[i] = !dtype.isFloating()
                    ? null
                    : like.isMeta()
                            ? Tensor.meta(shape, dtype, like.device())
                            : Tensor.zeros(shape, dtype, like.device());
        }
        return named(result);
    }

    private Grads named(@Nullable Tensor[] result) {
        if (!single || code.inputs() >= ARITIES) {
            return Grads.ofList("inputs", Arrays.asList(result));
        }
        Grads grads = Grads.of("x", result[0]);
        if (code.inputs() > 1) {
            grads = grads.and("y", result[1]);
        }
        return code.inputs() > 2 ? grads.and("z", result[2]) : grads;
    }

    @Override
    public String toString() {
        return name + " = " + code.roots();
    }
}
