// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Derivative;
import dev.merapi.expr.ir.Variable;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.tree.Tree;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.ops.code.Signature;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.BinaryOperator;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * An op that combines the values of a scalar expression over some dimensions, in one pass over memory:
 *
 * <pre>{@code
 * static final ReductionOp MSE = ReductionOp.define("demo::mse", (x, y) -> x.sub(y).square(), Combine.MEAN);
 * Tensor loss = MSE.call(prediction, target);
 * }</pre>
 *
 * <p>Operands broadcast; dimensions are those of their common shape; none named means all. Sums accumulate in at least
 * float32, integers in int64. The backward is derived: the derivative of the expression, with the gradient broadcast.
 *
 * <p>An epilogue is a second expression, of the combined value, in the same kernel where the device has one for it:
 *
 * <pre>{@code
 * static final ReductionOp RMS = ReductionOp.define("demo::rms", Expr::square, Combine.MEAN, Expr::sqrt);
 * }</pre>
 *
 * <p>It is computed in the type of the sum, and only the result is rounded to its dtype, which must be floating. While a
 * gradient is recorded the op is the two ops that it is made of.
 */
public final class ReductionOp {
    private static final PointwiseOp EXTREMUM_BACKWARD = Pointwise.define(
            "merapi::extremum_backward", (v, out, g) -> isExtremum(v, out).select(g, Expr.constant(0.0)));
    private static final ReductionOp EXTREMA = new ReductionOp(
            "merapi::extrema",
            isExtremum(Expr.input(0), Expr.input(1)).cast(DType.INT64),
            new Signature(2, List.of()),
            Combine.SUM);

    private static final ReductionOp WEIGHTED_SUM = new ReductionOp(
            "merapi::weighted_sum", Expr.input(0).mul(Expr.input(1)), new Signature(2, List.of()), Combine.SUM);

    /** Whether an element is the result, or one of those that are; if one is NaN, so is the result. */
    private static Expr isExtremum(Expr v, Expr out) {
        return v.eq(out).or(v.isNan());
    }

    private final String name;
    private final ReduceCode code;
    private final Signature signature;
    private final boolean identity; // it reduces the operand itself
    private final @Nullable Epilogue epilogue;
    private final Op<? extends Record, Tensor> op;
    private final ConcurrentMap<BitSet, Derived> derived = new ConcurrentHashMap<>();
    private final ReductionTangents tangents;
    private volatile @Nullable PointwiseOp values;

    /** What backward needs. */
    record Saved(Tensor[] inputs, @Nullable Tensor out, Shape shape, int[] dims, List<Number> scalars)
            implements Tree.Branch {
        @Override
        public Saved map(UnaryOperator<@Nullable Tensor> replacement) {
            Tensor result = out == null ? null : replacement.apply(out);
            return new Saved(Tree.map(inputs, replacement), result, shape, dims, scalars);
        }
    }

    /** The gradients of some operands as one pointwise op over (gradient, used operands). */
    private record Derived(@Nullable PointwiseOp op, int[] inputs, int[] targets) {}

    /** The same as two ops. */
    private record Epilogue(ReductionOp combined, PointwiseOp behind) {
        Tensor call(ReduceArgs a, DType result) {
            List<Tensor> inputs = Arrays.asList(a.tensors());
            Tensor value = combined.call(inputs, a.scalars(), a.dims(), a.keepDim(), result.computeType());
            return behind.call(List.of(value), a.scalars()).to(result);
        }
    }

    /** An op that no name leads to; see {@link #register}. */
    ReductionOp(String name, Expr prologue, Signature signature, Combine combine) {
        this(name, prologue, signature, combine, null);
    }

    private ReductionOp(String name, Expr prologue, Signature signature, Combine combine, @Nullable Expr behind) {
        int inputs = signature.inputs();
        Map<String, List<String>> names = signature.elements();
        this.name = name;
        this.code = new ReduceCode(name, prologue, inputs, combine, behind);
        this.signature = signature;
        this.epilogue = behind == null
                ? null
                : new Epilogue(
                        new ReductionOp(name, prologue, signature, combine),
                        new PointwiseOp(name + "_epilogue", List.of(behind), signature.beside(1)));
        this.identity = prologue == Expr.input(0);
        this.tangents = new ReductionTangents(name, code, signature);
        this.op = inputs == 1
                ? finish(Op.define(name, ReduceArgs.X.class, Tensor.class, names))
                : inputs == 2
                        ? finish(Op.define(name, ReduceArgs.XY.class, Tensor.class, names))
                        : finish(Op.define(name, ReduceArgs.Many.class, Tensor.class, names));
    }

    private ReductionOp register() {
        op.register();
        return this;
    }

    /**
     * Defines a reduction of one tensor.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from an element to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static ReductionOp define(String name, UnaryOperator<Expr> f, Combine combine) {
        return define(name, 1, List.of(), f.apply(Expr.input(0)), combine, null);
    }

    /**
     * Defines a reduction of two tensors, which broadcast.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from both elements to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static ReductionOp define(String name, BinaryOperator<Expr> f, Combine combine) {
        return define(name, 2, List.of(), f.apply(Expr.input(0), Expr.input(1)), combine, null);
    }

    /**
     * Defines a reduction of any number of tensors and scalars, which are named s0, s1, ….
     *
     * @param name {@code namespace::name}, not yet taken
     * @param tensors how many tensors it takes
     * @param scalars how many scalars
     * @param f from the tensors' elements, then the scalars, to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static ReductionOp define(
            String name, int tensors, int scalars, Function<List<Expr>, Expr> f, Combine combine) {
        return define(name, tensors, Signature.unnamed(scalars), f, combine);
    }

    /**
     * Defines a reduction of any number of tensors and named scalars.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param tensors how many tensors it takes
     * @param scalars their names
     * @param f from the tensors' elements, then the scalars, to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     */
    public static ReductionOp define(
            String name, int tensors, List<Param> scalars, Function<List<Expr>, Expr> f, Combine combine) {
        Expr root = f.apply(Pointwise.operands(tensors, scalars.size()));
        return define(name, tensors, scalars, root, combine, null);
    }

    /**
     * Defines a reduction of one tensor with an epilogue.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from an element to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}, and none that gives an index or a bool
     * @param epilogue from the combined value to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     * @throws IllegalArgumentException if the way to combine gives no number
     */
    public static ReductionOp define(
            String name, UnaryOperator<Expr> f, Combine combine, UnaryOperator<Expr> epilogue) {
        return define(
                name, 1, List.of(), f.apply(Expr.input(0)), combine, behind(name, 0, a -> epilogue.apply(a.get(0))));
    }

    /**
     * Defines a reduction of two tensors with an epilogue.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param f from both elements to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}, and none that gives an index or a bool
     * @param epilogue from the combined value to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     * @throws IllegalArgumentException if the way to combine gives no number
     */
    public static ReductionOp define(
            String name, BinaryOperator<Expr> f, Combine combine, UnaryOperator<Expr> epilogue) {
        Expr root = f.apply(Expr.input(0), Expr.input(1));
        return define(name, 2, List.of(), root, combine, behind(name, 0, a -> epilogue.apply(a.get(0))));
    }

    /**
     * Defines a reduction of any number of tensors and scalars with an epilogue.
     *
     * @param name {@code namespace::name}, not yet taken
     * @param tensors how many tensors it takes
     * @param scalars how many scalars
     * @param f from the tensors' elements, then the scalars, to what is combined
     * @param combine how the values make one; any but {@link Combine#VAR}, and none that gives an index or a bool
     * @param epilogue from the combined value, then the scalars, to the result
     * @return the op, registered, with gradients of every order where the way to combine has them
     * @throws dev.merapi.error.RegistrationException if the name is taken
     * @throws IllegalArgumentException if the way to combine gives no number
     */
    public static ReductionOp define(
            String name,
            int tensors,
            int scalars,
            Function<List<Expr>, Expr> f,
            Combine combine,
            Function<List<Expr>, Expr> epilogue) {
        Expr root = f.apply(Pointwise.operands(tensors, scalars));
        return define(name, tensors, Signature.unnamed(scalars), root, combine, behind(name, scalars, epilogue));
    }

    private static Expr behind(String name, int scalars, Function<List<Expr>, Expr> epilogue) {
        return Pointwise.ofOwn(name, epilogue.apply(Pointwise.operands(1, scalars)), 1, scalars);
    }

    private static ReductionOp define(
            String name, int tensors, List<Param> scalars, Expr root, Combine combine, @Nullable Expr behind) {
        if (behind != null && (combine.isIndex() || combine.isLogical())) {
            throw new IllegalArgumentException("reduction: " + name + " has an epilogue, which takes a number, and "
                    + combine + " gives none\n  fix: apply a second op to the result.");
        }
        Expr own = Pointwise.ofOwn(name, root, tensors, scalars.size());
        return new ReductionOp(name, own, Signature.of(name, tensors, scalars), notVar(combine), behind).register();
    }

    /**
     * What automatic mixed precision does to the operands; without this nothing.
     *
     * @param policy which dtype they are brought to within {@code Autocast}
     * @return this op
     */
    public ReductionOp autocast(CastPolicy policy) {
        op.autocast(policy);
        return this;
    }

    private static Combine notVar(Combine combine) {
        if (combine == Combine.VAR) {
            throw new IllegalArgumentException("reduction: the variance takes a correction and no expression"
                    + "\n  fix: apply the expression first, then use var.");
        }
        return combine;
    }

    private <A extends Record> Op<A, Tensor> finish(Op<A, Tensor> bare) {
        bare.shape(a -> meta(name, code, (ReduceArgs) a)).stridesOk().code(code);
        Epilogue two = epilogue;
        if (two != null) {
            return bare.compose(a ->
                    two.call((ReduceArgs) a, code.specialize((ReduceArgs) a).result()));
        }
        boolean discrete = !code.combine().isDifferentiable()
                || Derivative.vjp(List.of(code.prologue()), code.inputs()).stream()
                        .allMatch(e -> e == null);
        return discrete
                ? bare.nonDifferentiable()
                : bare.autograd((a, out) -> save((ReduceArgs) a, out), (context, s, g) -> backward(context, s, g))
                        .jvp((a, out, t) -> tangent((ReduceArgs) a, out, t.slots()));
    }

    /** The result without memory. */
    static Tensor meta(String name, ReduceCode code, ReduceArgs args) {
        if (args.tensors().length != code.inputs()) {
            throw new ShapeException(name + ": takes " + code.inputs() + " tensors as inputs, but got "
                    + args.tensors().length + "\n  fix: pass as many as its expression has.");
        }
        Shape shape = args.common(name);
        boolean[] mask = ReduceArgs.mask(name, shape, args.dims());
        ReduceCode.Specialized s = code.specialize(args);
        Shape out = ReduceArgs.reduced(shape, mask, args.keepDim());
        if (s.combine().needsElements() && out.numel() != 0 && ReduceArgs.count(shape, mask) == 0) {
            throw new ShapeException(name + ": there is no " + name.substring(name.indexOf("::") + 2)
                    + " of no elements\n  shape: " + shape + ", reduced over "
                    + (args.dims().length == 0 ? "all dimensions" : "dimensions " + Arrays.toString(args.dims()))
                    + "\n  fix: reduce over dimensions that are not empty.");
        }
        return Tensor.meta(out, s.result(), args.tensors()[0].device());
    }

    // ---------------------------------------------------------------- calls

    /** {@return the op itself, to be inspected, overridden, or called by its record of arguments} */
    public Op<? extends Record, Tensor> op() {
        return op;
    }

    /**
     * For an op of one tensor.
     *
     * @param x the operand
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @return a new tensor of the dimensions that are left
     * @throws ShapeException if a dimension is not there or twice, shapes do not broadcast, or the smallest or
     *     largest of no elements is asked for
     */
    public Tensor call(Tensor x, int... dims) {
        Objects.requireNonNull(dims, "dims");
        return call(x, dims, false, null);
    }

    /**
     * For an op of one tensor.
     *
     * @param x the operand
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @return a new tensor of the dimensions that are left
     * @throws ShapeException if a dimension is not there or twice, shapes do not broadcast, or the smallest or
     *     largest of no elements is asked for
     * @throws dev.merapi.error.DTypeException if the result has no such dtype: a mean is floating, and a sum is not bool
     */
    @SuppressWarnings("unchecked")
    public Tensor call(Tensor x, int[] dims, boolean keepDim, @Nullable DType dtype) {
        Objects.requireNonNull(dims, "dims");
        requireArity(1, 0);
        return ((Op<ReduceArgs.X, Tensor>) op).call(new ReduceArgs.X(x, dims, keepDim, dtype, List.of()));
    }

    /**
     * For an op of two tensors.
     *
     * @param x the first operand
     * @param y the second, broadcast with it
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @return a new tensor of the dimensions that are left
     * @throws ShapeException if a dimension is not there or twice, shapes do not broadcast, or the smallest or
     *     largest of no elements is asked for
     */
    public Tensor call(Tensor x, Tensor y, int... dims) {
        Objects.requireNonNull(dims, "dims");
        return call(x, y, dims, false, null);
    }

    /**
     * For an op of two tensors.
     *
     * @param x the first operand
     * @param y the second, broadcast with it
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @return a new tensor of the dimensions that are left
     * @throws ShapeException if a dimension is not there or twice, shapes do not broadcast, or the smallest or
     *     largest of no elements is asked for
     * @throws dev.merapi.error.DTypeException if the result has no such dtype: a mean is floating, and a sum is not bool
     */
    @SuppressWarnings("unchecked")
    public Tensor call(Tensor x, Tensor y, int[] dims, boolean keepDim, @Nullable DType dtype) {
        Objects.requireNonNull(dims, "dims");
        requireArity(2, 0);
        return ((Op<ReduceArgs.XY, Tensor>) op).call(new ReduceArgs.XY(x, y, dims, keepDim, dtype, List.of()));
    }

    /**
     * For an op of any number of tensors and scalars.
     *
     * @param inputs the operands, which broadcast together
     * @param values the numbers, in order
     * @param dims to be reduced, negative ones counted from the end; none for all
     * @param keepDim whether the reduced dimensions stay, with size 1
     * @param dtype of the result; null for the usual one
     * @return a new tensor of the dimensions that are left
     * @throws ShapeException if a dimension is not there or twice, shapes do not broadcast, or the smallest or
     *     largest of no elements is asked for
     * @throws dev.merapi.error.DTypeException if the result has no such dtype: a mean is floating, and a sum is not bool
     */
    @SuppressWarnings("unchecked")
    public Tensor call(List<Tensor> inputs, List<Number> values, int[] dims, boolean keepDim, @Nullable DType dtype) {
        Objects.requireNonNull(inputs, "inputs");
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(dims, "dims");
        requireArity(inputs.size(), values.size());
        if (inputs.size() == 1) {
            return ((Op<ReduceArgs.X, Tensor>) op).call(new ReduceArgs.X(inputs.get(0), dims, keepDim, dtype, values));
        }
        if (inputs.size() == 2) {
            return ((Op<ReduceArgs.XY, Tensor>) op)
                    .call(new ReduceArgs.XY(inputs.get(0), inputs.get(1), dims, keepDim, dtype, values));
        }
        return ((Op<ReduceArgs.Many, Tensor>) op).call(new ReduceArgs.Many(inputs, dims, keepDim, dtype, values));
    }

    private void requireArity(int tensors, int numbers) {
        signature.require(name, tensors, numbers);
    }

    // ---------------------------------------------------------------- backward

    private Saved save(ReduceArgs args, Tensor out) {
        Tensor[] inputs = args.tensors();
        boolean needsOut = code.combine() == Combine.MIN || code.combine() == Combine.MAX;
        boolean needsInputs = needsOut || code.combine() == Combine.PROD || !identity;
        return new Saved(
                needsInputs ? inputs : new Tensor[0],
                needsOut ? out : null,
                args.common(name),
                args.dims().clone(),
                List.copyOf(args.scalars()));
    }

    private Grads backward(BackwardContext context, Saved s, Tensor g) {
        boolean[] mask = ReduceArgs.mask(name, s.shape, s.dims);
        // A 0-d gradient expands as it is.
        boolean scalar = identity && g.rank() == 0 && (code.combine() == Combine.SUM || code.combine() == Combine.MEAN);
        Tensor kept = scalar ? g : keep(g, s.shape, mask);
        Tensor each = switch (code.combine()) {
            case SUM -> kept;
            case MEAN -> kept.mul(1.0 / ReduceArgs.count(s.shape, mask));
            default -> ofOne(s, mask, kept);
        };
        @Nullable Tensor[] result = new Tensor[code.inputs()];
        if (identity) {
            result[0] = each.expand(s.shape.toArray());
        } else {
            through(context.neededSlots(), s, each, result);
        }
        if (code.inputs() > 2) {
            return Grads.ofList("inputs", Arrays.asList(result));
        }
        Grads grads = Grads.of("x", result[0]);
        return code.inputs() == 2 ? grads.and("y", result[1]) : grads;
    }

    /** The gradient of what is combined, where it depends on the other values. */
    private Tensor ofOne(Saved s, boolean[] mask, Tensor kept) {
        return code.combine() == Combine.PROD
                ? ofProduct(values(s), kept, reducedDims(mask))
                : ofExtremum(values(s), keep(out(s), s.shape, mask), kept, reducedDims(mask));
    }

    /** Forward mode: a sum or mean of tangents; else of tangents times what each value does to the one result it is in. */
    private @Nullable Tensor tangent(ReduceArgs args, Tensor out, @Nullable Tensor[] given) {
        if (code.combine() == Combine.SUM || code.combine() == Combine.MEAN) {
            return tangents.combined(args, out, given);
        }
        Saved s = save(args, out);
        Tensor v = values(s);
        Tensor t =
                identity ? given[0] : valuesOp().tangents(args.tensors(), args.scalars(), new Tensor[] {v}, given)[0];
        if (t == null) {
            return null;
        }
        boolean[] mask = ReduceArgs.mask(name, s.shape, s.dims);
        Shape kept = ReduceArgs.reduced(s.shape, mask, true);
        Tensor slopes = ofOne(s, mask, Tensor.ones(kept, out.dtype(), out.device()));
        List<Tensor> both = List.of(ReductionTangents.wide(slopes, s.shape), ReductionTangents.wide(t, s.shape));
        return WEIGHTED_SUM.call(both, List.of(), s.dims, args.keepDim(), out.dtype());
    }

    private static Tensor out(Saved s) {
        return Objects.requireNonNull(s.out);
    }

    /** With the reduced dimensions back, as size 1. */
    static Tensor keep(Tensor t, Shape shape, boolean[] mask) {
        Shape kept = ReduceArgs.reduced(shape, mask, true);
        return t.shape().equals(kept) ? t : t.reshape(kept.toArray());
    }

    static int[] reducedDims(boolean[] mask) {
        int[] dims = new int[mask.length];
        int n = 0;
        for (int d = 0; d < mask.length; d++) {
            if (mask[d]) {
                dims[n++] = d;
            }
        }
        return Arrays.copyOf(dims, n);
    }

    /** What was combined, computed again. */
    private Tensor values(Saved s) {
        if (identity) {
            return s.inputs[0];
        }
        return valuesOp().call(Arrays.asList(s.inputs), s.scalars);
    }

    private PointwiseOp valuesOp() {
        PointwiseOp op = values;
        if (op == null) {
            op = new PointwiseOp(name + "_values", List.of(code.prologue()), signature);
            values = op;
        }
        return op;
    }

    /** All elements that are the result share its gradient evenly. */
    private static Tensor ofExtremum(Tensor v, Tensor out, Tensor g, int[] dims) {
        Tensor count = EXTREMA.call(v, out, dims, true, null);
        return EXTREMUM_BACKWARD.call(v, out, g.div(count));
    }

    /**
     * The product of all others. Zeros are taken out, and multiplied back in by differentiable means: exact up to second
     * derivatives with any number of zeros.
     */
    private static Tensor ofProduct(Tensor v, Tensor g, int[] dims) {
        Tensor zero = v.eq(0);
        Tensor zeros = Reductions.SUM.call(zero, dims, true, v.dtype());
        Tensor others = Reductions.PROD.call(v.maskedFill(zero, 1), dims, true, null);
        Tensor sumOfZeros = Reductions.SUM.call(v.where(zero, 0), dims, true, null);
        Tensor twoZeros = others.mul(sumOfZeros.sub(v)).where(zeros.eq(2), 0);
        Tensor atZero = Tensor.where(zeros.eq(1), others, twoZeros);
        Tensor safe = v.maskedFill(zero, 1);
        Tensor oneZero = others.mul(sumOfZeros).div(safe).where(zeros.eq(1), 0);
        Tensor elsewhere = Tensor.where(zeros.eq(0), others.div(safe), oneZero);
        return g.mul(Tensor.where(zero, atZero, elsewhere));
    }

    /** From the gradient of the expression's value to those of its operands. */
    private void through(BitSet wanted, Saved s, Tensor g, @Nullable Tensor[] result) {
        BitSet group = new BitSet();
        for (int i = wanted.nextSetBit(0); i >= 0; i = wanted.nextSetBit(i + 1)) {
            group.set(i);
            if (group.cardinality() == PointwiseBackward.GROUP || wanted.nextSetBit(i + 1) < 0) {
                together(group, s, g, result);
                group = new BitSet();
            }
        }
    }

    private void together(BitSet wanted, Saved s, Tensor g, @Nullable Tensor[] result) {
        Derived d = derived.computeIfAbsent(wanted, this::derive);
        if (d.op == null) {
            return;
        }
        List<Tensor> operands = new ArrayList<>();
        operands.add(g);
        for (int i : d.inputs) {
            operands.add(s.inputs[i]);
        }
        Object made = d.op.callAny(operands, s.scalars);
        Tensor[] all = PointwiseOp.outputs(Objects.requireNonNull(made));
        for (int k = 0; k < all.length; k++) {
            Tensor t = all[k];
            result[d.targets[k]] = t.shape().equals(s.shape) ? t : t.expand(s.shape.toArray());
        }
    }

    private Derived derive(BitSet wanted) {
        List<@Nullable Expr> all = Derivative.vjp(List.of(code.prologue()), code.inputs());
        List<Expr> roots = new ArrayList<>();
        List<Integer> targets = new ArrayList<>();
        BitSet used = new BitSet();
        for (int i = 0; i < all.size(); i++) {
            Expr e = all.get(i);
            if (e != null && wanted.get(i)) {
                Expr again = e.substitute(
                        v -> v instanceof Variable x && x.role() == Variable.Role.OUTPUT ? code.prologue() : v);
                roots.add(again);
                targets.add(i);
                used.or(Variable.uses(again, Variable.Role.INPUT));
            }
        }
        int[] inputs = used.stream().toArray();
        List<Expr> renamed = new ArrayList<>();
        for (Expr root : roots) {
            renamed.add(root.substitute(v -> v instanceof Variable x ? renamed(x, inputs) : v));
        }
        PointwiseOp op = roots.isEmpty()
                ? null
                : new PointwiseOp(name + "_backward", renamed, signature.beside(1 + inputs.length));
        return new Derived(op, inputs, targets.stream().mapToInt(i -> i).toArray());
    }

    private static Expr renamed(Variable v, int[] inputs) {
        return switch (v.role()) {
            case GRADIENT -> Expr.input(0);
            case INPUT -> Expr.input(1 + Arrays.binarySearch(inputs, v.index()));
            default -> v;
        };
    }

    @Override
    public String toString() {
        return name + " = " + code.combine() + " of " + code.prologue();
    }
}
