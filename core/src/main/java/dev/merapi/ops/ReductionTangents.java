// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Derivative;
import dev.merapi.expr.ir.Variable;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.ops.code.Signature;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** Forward mode of sums and means: the same reduction of the tangent of its expression, in one pass over memory. */
final class ReductionTangents {
    private final String name;
    private final ReduceCode code;
    private final Signature signature;
    private final ConcurrentMap<BitSet, Derived> derived = new ConcurrentHashMap<>();

    /** A derived reduction over tangents, then operands; without one the tangent is zero. */
    private record Derived(@Nullable ReductionOp op, int[] tangents, int[] inputs) {}

    ReductionTangents(String name, ReduceCode code, Signature signature) {
        this.name = name;
        this.code = code;
        this.signature = signature;
    }

    /**
     * The tangent of the result, in its form.
     *
     * @param given per operand its tangent; null for zero
     */
    Tensor combined(ReduceArgs args, Tensor out, @Nullable Tensor[] given) {
        Tensor sum = null;
        BitSet group = new BitSet();
        for (int i = 0; i < given.length; i++) {
            if (given[i] != null) {
                group.set(i);
            }
            if (!group.isEmpty() && (group.cardinality() == PointwiseBackward.GROUP || i == given.length - 1)) {
                Tensor part = ofGroup(group, args, out, given);
                sum = sum == null || part == null ? (part == null ? sum : part) : sum.add(part);
                group = new BitSet();
            }
        }
        return sum == null ? out.zerosLike() : sum;
    }

    private @Nullable Tensor ofGroup(BitSet group, ReduceArgs args, Tensor out, @Nullable Tensor[] given) {
        Derived d = derived.computeIfAbsent(group, this::derive);
        if (d.op == null) {
            return null;
        }
        List<Tensor> operands = new ArrayList<>();
        for (int i : d.tangents) {
            operands.add(Objects.requireNonNull(given[i]));
        }
        for (int i : d.inputs) {
            operands.add(args.tensors()[i]);
        }
        // Dimensions are those of the operands' common shape, to which the largest may not have come along.
        Shape shape = args.common(name);
        operands.set(0, wide(operands.get(0), shape));
        return d.op.call(operands, args.scalars(), args.dims(), args.keepDim(), out.dtype());
    }

    static Tensor wide(Tensor t, Shape shape) {
        return t.shape().equals(shape) ? t : t.expand(shape.toArray());
    }

    private Derived derive(BitSet active) {
        Expr tangent = Derivative.jvp(List.of(code.prologue()), active).get(0);
        if (tangent == null) {
            return new Derived(null, new int[0], new int[0]);
        }
        Expr e = tangent.substitute(
                v -> v instanceof Variable x && x.role() == Variable.Role.OUTPUT ? code.prologue() : v);
        int[] t = Variable.uses(e, Variable.Role.GRADIENT).stream().toArray();
        int[] x = Variable.uses(e, Variable.Role.INPUT).stream().toArray();
        Expr renamed = e.substitute(v -> v instanceof Variable y ? PointwiseBackward.renamed(y, t, new int[0], x) : v);
        ReductionOp op = new ReductionOp(name + "_jvp", renamed, signature.beside(t.length + x.length), code.combine());
        return new Derived(op, t, x);
    }
}
