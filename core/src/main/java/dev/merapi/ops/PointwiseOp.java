// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.expr.Derivative;
import dev.merapi.expr.Expr;
import dev.merapi.expr.Variable;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.reference.PointwiseReference;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * An op that is one scalar expression, or several over the same operands. Its backward is another such op, derived for
 * just the gradients that a pass wants, all of them in one pass over memory; and so on for every order.
 */
public final class PointwiseOp {
    private static final int ARITIES = 4;

    private final String name;
    private final int scalars;
    private final PointwiseCode code;
    private final Op<? extends Record, ?> op;
    private final boolean single;
    private final ConcurrentMap<Long, Derived> derived = new ConcurrentHashMap<>();
    private volatile @Nullable Uses @Nullable [] uses;
    private volatile @Nullable Derived lastDerived;
    private volatile @Nullable Op<PointwiseArgs.Into, Tensor> inPlace;

    /**
     * A derived op, and where its operands come from: gradients, then saved outputs, then saved inputs.
     *
     * @param mask of the operands whose gradients it makes
     * @param arrived mask of the outputs whose gradients there are
     */
    private record Derived(
            long mask, long arrived, PointwiseOp op, int[] gradients, int[] outputs, int[] inputs, int[] targets) {}

    /** The operands and outputs that the gradient of one operand is computed from. */
    private record Uses(BitSet inputs, BitSet outputs) {}

    /** Saved for backward: what any gradient might need; the rest is null. */
    public record Saved(@Nullable Tensor[] inputs, @Nullable Tensor[] outputs, List<Number> scalars) {}

    PointwiseOp(String name, List<Expr> roots, int inputs, int scalars) {
        this.name = name;
        this.scalars = scalars;
        this.code = new PointwiseCode(roots, inputs);
        this.single = roots.size() == 1;
        this.op = !single
                ? finish(Op.define(name, PointwiseArgs.Many.class, Result.tensors()))
                : inputs == 1
                        ? finish(Op.define(name, PointwiseArgs.X.class, Tensor.class))
                        : inputs == 2
                                ? finish(Op.define(name, PointwiseArgs.XY.class, Tensor.class))
                                : inputs == ARITIES - 1
                                        ? finish(Op.define(name, PointwiseArgs.XYZ.class, Tensor.class))
                                        : finish(Op.define(name, PointwiseArgs.Many.class, Tensor.class));
    }

    PointwiseOp register() {
        op.register();
        return this;
    }

    @SuppressWarnings("unchecked")
    private <A extends Record, R> Op<A, R> finish(Op<A, R> bare) {
        bare.shape(a -> (R) meta((PointwiseArgs) a))
                .reference((a, out) -> PointwiseReference.run(code, (PointwiseArgs) a, outputs(out)))
                .stridesOk()
                .code(code);
        boolean discrete = code.roots().stream().noneMatch(this::hasDerivative);
        if (discrete) {
            return bare.nonDifferentiable();
        }
        return bare.autograd(
                (a, out) -> save((PointwiseArgs) a, outputs(out)), (context, saved, g) -> backward(context, saved, g));
    }

    private boolean hasDerivative(Expr root) {
        return Derivative.vjp(List.of(root), code.inputs()).stream().anyMatch(e -> e != null);
    }

    /** The outputs of a result of this op. */
    @SuppressWarnings("unchecked")
    static Tensor[] outputs(Object result) {
        return result instanceof Tensor t ? new Tensor[] {t} : ((List<Tensor>) result).toArray(new Tensor[0]);
    }

    // ---------------------------------------------------------------- forward

    public Op<? extends Record, ?> op() {
        return op;
    }

    public PointwiseCode code() {
        return code;
    }

    public Tensor call(Tensor x) {
        return call1(x, List.of());
    }

    public Tensor call(Tensor x, Number scalar) {
        return call1(x, List.of(scalar));
    }

    public Tensor call(Tensor x, Number first, Number second) {
        return call1(x, List.of(first, second));
    }

    @SuppressWarnings("unchecked")
    private Tensor call1(Tensor x, List<Number> values) {
        requireArity(1, values.size());
        return ((Op<PointwiseArgs.X, Tensor>) op).call(new PointwiseArgs.X(x, values));
    }

    public Tensor call(Tensor x, Tensor y) {
        return call2(x, y, List.of());
    }

    public Tensor call(Tensor x, Tensor y, Number scalar) {
        return call2(x, y, List.of(scalar));
    }

    @SuppressWarnings("unchecked")
    private Tensor call2(Tensor x, Tensor y, List<Number> values) {
        requireArity(2, values.size());
        return ((Op<PointwiseArgs.XY, Tensor>) op).call(new PointwiseArgs.XY(x, y, values));
    }

    @SuppressWarnings("unchecked")
    public Tensor call(Tensor x, Tensor y, Tensor z) {
        requireArity(3, 0);
        return ((Op<PointwiseArgs.XYZ, Tensor>) op).call(new PointwiseArgs.XYZ(x, y, z, List.of()));
    }

    /** Any number of operands. */
    public Tensor call(List<Tensor> inputs, List<Number> values) {
        return (Tensor) java.util.Objects.requireNonNull(callAny(inputs, values));
    }

    @SuppressWarnings("unchecked")
    @Nullable Object callAny(List<Tensor> inputs, List<Number> values) {
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
        if (tensors != code.inputs() || values != scalars) {
            throw new ShapeException(name + ": takes " + code.inputs() + " tensors and " + scalars + " scalars, but got "
                    + tensors + " and " + values);
        }
    }

    private Object meta(PointwiseArgs args) {
        Tensor[] inputs = args.tensors();
        Shape shape = inputs[0].shape();
        for (int i = 1; i < inputs.length; i++) {
            shape = Shape.broadcast(name, shape, inputs[i].shape());
        }
        PointwiseCode.Specialized s = code.specialize(inputs, args.scalars());
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
     */
    public Tensor into(Tensor x, List<Tensor> inputs, List<Number> values) {
        Op<PointwiseArgs.Into, Tensor> into = inPlace;
        if (into == null) {
            into = defineInPlace();
        }
        return into.call(new PointwiseArgs.Into(x, inputs, values));
    }

    private synchronized Op<PointwiseArgs.Into, Tensor> defineInPlace() {
        if (inPlace == null) {
            inPlace = Op.define(name + "_", PointwiseArgs.Into.class, Tensor.class)
                    .mutates("x")
                    .returnsMutated()
                    .stridesOk()
                    .shape(a -> {
                        Shape shape = ((Tensor) meta(a)).shape();
                        if (!Shape.broadcast(name + "_", a.x().shape(), shape).equals(a.x().shape())) {
                            throw new ShapeException(name + "_: the result of shape " + shape
                                    + " does not fit into " + a.x().describe());
                        }
                        requireCastable(a.x(), code.specialize(a.tensors(), a.scalars()));
                        return a.x();
                    })
                    .reference((a, out) -> PointwiseReference.run(code, a, new Tensor[] {out}))
                    .code(code)
                    .compose(a -> a.x().copy_(call(readBefore(a), a.scalars())));
        }
        return inPlace;
    }

    /** The operands, with a copy of the tensor that will be written where backward needs its old value. */
    private List<Tensor> readBefore(PointwiseArgs.Into a) {
        BitSet read = new BitSet();
        for (int i = 0; i < a.inputs().size(); i++) {
            Uses u = uses()[i];
            if (u != null && a.inputs().get(i).requiresGrad()) {
                read.or(u.inputs);
            }
        }
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
            throw new dev.merapi.error.DTypeException(name + "_: the result is " + s.output(0)
                    + ", which cannot be stored in " + x.describe() + "\n  fix: convert the tensor with to(dtype) first.");
        }
    }

    // ---------------------------------------------------------------- backward

    /** Per operand what its gradient needs, null where there is none. */
    private @Nullable Uses[] uses() {
        @Nullable Uses[] known = uses;
        if (known == null) {
            known = Derivative.vjp(code.roots(), code.inputs()).stream()
                    .map(e -> e == null ? null : new Uses(e.uses(Variable.Role.INPUT), e.uses(Variable.Role.OUTPUT)))
                    .toArray(Uses[]::new);
            uses = known;
        }
        return known;
    }

    private Saved save(PointwiseArgs args, Tensor[] outputs) {
        Tensor[] operands = args.tensors();
        @Nullable Tensor[] inputs = new Tensor[operands.length];
        @Nullable Tensor[] results = new Tensor[outputs.length];
        @Nullable Uses[] uses = uses();
        for (int i = 0; i < operands.length; i++) {
            Uses u = uses[i];
            if (u != null && operands[i].requiresGrad()) {
                pick(operands, u.inputs, inputs);
                pick(outputs, u.outputs, results);
            }
        }
        return new Saved(inputs, results, args.scalars());
    }

    private static void pick(Tensor[] from, BitSet which, @Nullable Tensor[] into) {
        for (int i = which.nextSetBit(0); i >= 0; i = which.nextSetBit(i + 1)) {
            into[i] = from[i];
        }
    }

    private Grads backward(BackwardContext context, Saved saved, @Nullable Object g) {
        @Nullable Tensor[] gradients = g instanceof List<?> list
                ? list.toArray(new Tensor[0])
                : new Tensor[] {(Tensor) g};
        long mask = context.neededMask();
        long arrived = 0;
        for (int i = 0; i < gradients.length; i++) {
            arrived |= gradients[i] != null ? 1L << i : 0;
        }
        Derived d = derived(mask, arrived);
        @Nullable Tensor[] result = new Tensor[code.inputs()];
        if (d.targets.length > 0) {
            List<Tensor> operands = new ArrayList<>();
            for (int i : d.gradients) {
                operands.add(java.util.Objects.requireNonNull(gradients[i]));
            }
            for (int i : d.outputs) {
                operands.add(java.util.Objects.requireNonNull(saved.outputs[i]));
            }
            for (int i : d.inputs) {
                operands.add(java.util.Objects.requireNonNull(saved.inputs[i]));
            }
            Tensor[] values = outputs(java.util.Objects.requireNonNull(d.op.callAny(operands, saved.scalars)));
            for (int k = 0; k < values.length; k++) {
                result[d.targets[k]] = values[k];
            }
        }
        if (!single || code.inputs() >= ARITIES) {
            return Grads.of("inputs", Arrays.asList(result));
        }
        Grads grads = Grads.of("x", result[0]);
        if (code.inputs() > 1) {
            grads = grads.and("y", result[1]);
        }
        return code.inputs() > 2 ? grads.and("z", result[2]) : grads;
    }

    private Derived derived(long mask, long arrived) {
        Derived d = lastDerived;
        if (d == null || d.mask != mask || d.arrived != arrived) {
            d = derived.computeIfAbsent(mask << 32 | arrived, key -> derive(mask, arrived));
            lastDerived = d;
        }
        return d;
    }

    private Derived derive(long mask, long arrived) {
        BitSet defined = BitSet.valueOf(new long[] {arrived});
        List<@Nullable Expr> all = Derivative.vjp(code.roots(), code.inputs(), defined);
        List<Expr> roots = new ArrayList<>();
        List<Integer> targets = new ArrayList<>();
        BitSet gradients = new BitSet();
        BitSet outputs = new BitSet();
        BitSet inputs = new BitSet();
        for (int i = 0; i < all.size(); i++) {
            Expr e = all.get(i);
            if (e != null && (mask >> i & 1) != 0) {
                roots.add(e);
                targets.add(i);
                gradients.or(e.uses(Variable.Role.GRADIENT));
                outputs.or(e.uses(Variable.Role.OUTPUT));
                inputs.or(e.uses(Variable.Role.INPUT));
            }
        }
        int[] g = gradients.stream().toArray();
        int[] o = outputs.stream().toArray();
        int[] x = inputs.stream().toArray();
        List<Expr> renamed = new ArrayList<>();
        for (Expr root : roots) {
            renamed.add(root.substitute(e -> e instanceof Variable v ? renamed(v, g, o, x) : e));
        }
        PointwiseOp op = roots.isEmpty()
                ? this
                : new PointwiseOp(name + "_backward", renamed, g.length + o.length + x.length, scalars);
        return new Derived(mask, arrived, op, g, o, x, targets.stream().mapToInt(i -> i).toArray());
    }

    private static Expr renamed(Variable v, int[] g, int[] o, int[] x) {
        return switch (v.role()) {
            case GRADIENT -> Expr.input(Arrays.binarySearch(g, v.index()));
            case OUTPUT -> Expr.input(g.length + Arrays.binarySearch(o, v.index()));
            case INPUT -> Expr.input(g.length + o.length + Arrays.binarySearch(x, v.index()));
            default -> v;
        };
    }

    @Override
    public String toString() {
        return name + " = " + code.roots();
    }
}
