// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Derivative;
import dev.merapi.expr.ir.Variable;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.Signature;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * Forward mode of a pointwise op: the tangents of all results in one derived op for every eight operands that have one,
 * over those tangents and what the slopes are computed from. A tangent that is an operand's own is passed on as it is.
 */
final class PointwiseTangents {
    private final String name;
    private final PointwiseCode code;
    private final Signature signature;
    private final ConcurrentMap<BitSet, Derived> derived = new ConcurrentHashMap<>();

    /**
     * A derived op, and where its operands come from: tangents, then results, then operands.
     *
     * @param targets per root of the op the result whose tangent it is
     * @param passed per result the operand whose tangent is its own too, or −1
     */
    private record Derived(
            @Nullable PointwiseOp op, int[] tangents, int[] outputs, int[] inputs, int[] targets, int[] passed) {}

    PointwiseTangents(String name, PointwiseCode code, Signature signature) {
        this.name = name;
        this.code = code;
        this.signature = signature;
    }

    /**
     * One tangent for each result, in its shape and dtype; null where it is zero.
     *
     * @param given per operand its tangent; null for zero
     */
    @Nullable
    Tensor[] tangents(Tensor[] operands, List<Number> values, Tensor[] results, @Nullable Tensor[] given) {
        @Nullable Tensor[] sums = new Tensor[results.length];
        BitSet group = new BitSet();
        for (int i = 0; i < given.length; i++) {
            if (given[i] != null) {
                group.set(i);
            }
            if (!group.isEmpty() && (group.cardinality() == PointwiseBackward.GROUP || i == given.length - 1)) {
                add(group, operands, values, results, given, sums);
                group = new BitSet();
            }
        }
        for (int k = 0; k < sums.length; k++) {
            Tensor t = sums[k];
            sums[k] = t == null || !results[k].dtype().isFloating() ? null : like(t, results[k]);
        }
        return sums;
    }

    /** Operands that are broadcast, or of another dtype, have tangents of that form. */
    static Tensor like(Tensor tangent, Tensor result) {
        Tensor t = tangent.to(result.dtype());
        return t.shape().equals(result.shape()) ? t : t.expand(result.shape().toArray());
    }

    private void add(
            BitSet group,
            Tensor[] operands,
            List<Number> values,
            Tensor[] results,
            @Nullable Tensor[] given,
            @Nullable Tensor[] sums) {
        Derived d = derived.computeIfAbsent(group, this::derive);
        for (int k = 0; k < d.passed.length; k++) {
            if (d.passed[k] >= 0) {
                sums[k] = sum(sums[k], Objects.requireNonNull(given[d.passed[k]]));
            }
        }
        if (d.op != null) {
            List<Tensor> all = new ArrayList<>();
            for (int i : d.tangents) {
                all.add(Objects.requireNonNull(given[i]));
            }
            for (int k : d.outputs) {
                all.add(results[k]);
            }
            for (int i : d.inputs) {
                all.add(operands[i]);
            }
            Tensor[] made = PointwiseOp.outputs(Objects.requireNonNull(d.op.callAny(all, values)));
            for (int k = 0; k < made.length; k++) {
                sums[d.targets[k]] = sum(sums[d.targets[k]], made[k]);
            }
        }
    }

    private static Tensor sum(@Nullable Tensor a, Tensor b) {
        return a == null ? b : a.add(b);
    }

    private Derived derive(BitSet active) {
        List<@Nullable Expr> all = Derivative.jvp(code.roots(), active);
        List<Expr> roots = new ArrayList<>();
        List<Integer> targets = new ArrayList<>();
        int[] passed = new int[all.size()];
        BitSet tangents = new BitSet();
        BitSet outputs = new BitSet();
        BitSet inputs = new BitSet();
        for (int k = 0; k < all.size(); k++) {
            Expr e = all.get(k);
            passed[k] = -1;
            if (e == null) {
                continue;
            }
            if (e instanceof Variable v && v.role() == Variable.Role.GRADIENT) {
                passed[k] = v.index();
                continue;
            }
            roots.add(e);
            targets.add(k);
            tangents.or(Variable.uses(e, Variable.Role.GRADIENT));
            outputs.or(Variable.uses(e, Variable.Role.OUTPUT));
            inputs.or(Variable.uses(e, Variable.Role.INPUT));
        }
        int[] t = tangents.stream().toArray();
        int[] o = outputs.stream().toArray();
        int[] x = inputs.stream().toArray();
        List<Expr> renamed = new ArrayList<>();
        for (Expr root : roots) {
            renamed.add(root.substitute(e -> e instanceof Variable v ? PointwiseBackward.renamed(v, t, o, x) : e));
        }
        PointwiseOp op = roots.isEmpty()
                ? null
                : new PointwiseOp(name + "_jvp", renamed, signature.beside(t.length + o.length + x.length));
        return new Derived(op, t, o, x, targets.stream().mapToInt(i -> i).toArray(), passed);
    }
}
