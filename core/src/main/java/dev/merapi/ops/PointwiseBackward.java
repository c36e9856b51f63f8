// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Derivative;
import dev.merapi.expr.ir.Variable;
import dev.merapi.op.BackwardContext;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.Signature;
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
 * The gradients of a pointwise op. Those of the shape of the result come from one derived op for every eight operands, all
 * in one pass over memory; that of an operand that was broadcast from a reduction with the same expression in front, so that nothing of
 * full size is made for it; and a gradient that is the incoming one is passed on as it is.
 */
final class PointwiseBackward {
    /** Operands whose gradients one op makes: what kernels have room for, and what a key has bits for. */
    static final int GROUP = 8;

    private final String name;
    private final PointwiseCode code;
    private final Signature signature;
    private final ConcurrentMap<Long, Derived> derived = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, ReductionOp> sums = new ConcurrentHashMap<>();
    private volatile @Nullable Uses @Nullable [] uses;
    private volatile @Nullable Derived last;

    /**
     * A derived op, and where its operands come from: gradients, then saved outputs, then saved inputs.
     *
     * @param key of the operands whose gradients it makes, and of the outputs whose gradients there are
     * @param passed per operand the output whose gradient is its own too, or −1
     */
    private record Derived(
            long key,
            List<Expr> roots,
            @Nullable PointwiseOp op,
            int[] gradients,
            int[] outputs,
            int[] inputs,
            int[] targets,
            int[] passed) {}

    /** The operands and outputs that the gradient of one operand is computed from. */
    private record Uses(BitSet inputs, BitSet outputs) {}

    PointwiseBackward(String name, PointwiseCode code, Signature signature) {
        this.name = name;
        this.code = code;
        this.signature = signature;
    }

    // ---------------------------------------------------------------- saving

    /** Per operand what its gradient needs, null where there is none. */
    private @Nullable Uses[] uses() {
        @Nullable Uses[] known = uses;
        if (known == null) {
            known = Derivative.vjp(code.roots(), code.inputs()).stream()
                    .map(e -> e == null
                            ? null
                            : new Uses(Variable.uses(e, Variable.Role.INPUT), Variable.uses(e, Variable.Role.OUTPUT)))
                    .toArray(Uses[]::new);
            uses = known;
        }
        return known;
    }

    /** The operands that gradients of these operands are computed from. */
    BitSet inputsUsed(List<Tensor> operands) {
        BitSet read = new BitSet();
        for (int i = 0; i < operands.size(); i++) {
            Uses u = uses()[i];
            if (u != null && operands.get(i).requiresGrad()) {
                read.or(u.inputs);
            }
        }
        return read;
    }

    PointwiseOp.Saved save(PointwiseArgs args, Tensor[] results) {
        Tensor[] operands = args.tensors();
        @Nullable Tensor[] inputs = new Tensor[operands.length];
        @Nullable Tensor[] outputs = new Tensor[results.length];
        @Nullable Shape @Nullable [] broadcast = null;
        @Nullable Uses[] needs = uses();
        Shape full = results[0].shape();
        for (int i = 0; i < operands.length; i++) {
            Uses u = needs[i];
            if (u != null && operands[i].requiresGrad()) {
                pick(operands, u.inputs, inputs);
                pick(results, u.outputs, outputs);
                Shape shape = operands[i].shape();
                if (shape != full && !shape.equals(full)) {
                    broadcast = broadcast == null ? new Shape[operands.length] : broadcast;
                    broadcast[i] = shape;
                }
            }
        }
        return new PointwiseOp.Saved(inputs, outputs, List.copyOf(args.scalars()), broadcast);
    }

    private static void pick(Tensor[] from, BitSet which, @Nullable Tensor[] into) {
        for (int i = which.nextSetBit(0); i >= 0; i = which.nextSetBit(i + 1)) {
            into[i] = from[i];
        }
    }

    // ---------------------------------------------------------------- gradients

    /** One gradient for each operand, null where this pass wants none or there is none. */
    @Nullable
    Tensor[] gradients(BackwardContext context, PointwiseOp.Saved saved, @Nullable Tensor[] gradients) {
        int arrived = 0;
        for (int i = 0; i < gradients.length; i++) {
            arrived |= gradients[i] != null ? 1 << i : 0;
        }
        @Nullable Tensor[] result = new Tensor[code.inputs()];
        @Nullable Shape[] broadcast = saved.broadcast();
        for (int first = 0; first < result.length; first += GROUP) {
            int mask = 0;
            for (int i = first; i < Math.min(first + GROUP, result.length); i++) {
                Shape shape = broadcast == null ? null : broadcast[i];
                if (!context.needsSlot(i)) {
                    continue;
                }
                if (shape != null) {
                    sum(i, shape, arrived, saved, gradients, result);
                } else {
                    mask |= 1 << i - first;
                }
            }
            if (mask != 0) {
                together(first, mask, arrived, saved, gradients, result);
            }
        }
        return result;
    }

    /** The gradients of some operands of a group, all of the shape of the result. */
    private void together(
            int first,
            int mask,
            int arrived,
            PointwiseOp.Saved saved,
            @Nullable Tensor[] gradients,
            @Nullable Tensor[] result) {
        Derived d = derived(first, mask, arrived);
        pass(d, gradients, result);
        if (d.op != null) {
            Object values = d.op.callAny(operands(d, saved, gradients), saved.scalars());
            Tensor[] all = PointwiseOp.outputs(java.util.Objects.requireNonNull(values));
            for (int k = 0; k < all.length; k++) {
                result[d.targets[k]] = all[k];
            }
        }
    }

    private static void pass(Derived d, @Nullable Tensor[] gradients, @Nullable Tensor[] result) {
        for (int i = 0; i < d.passed.length; i++) {
            if (d.passed[i] >= 0) {
                result[i] = gradients[d.passed[i]];
            }
        }
    }

    /** The gradient of an operand that was broadcast; where it is passed on, or there is none, the engine sums. */
    private void sum(
            int i,
            Shape shape,
            int arrived,
            PointwiseOp.Saved saved,
            @Nullable Tensor[] gradients,
            @Nullable Tensor[] result) {
        Derived d = derived(i - i % GROUP, 1 << i % GROUP, arrived);
        pass(d, gradients, result);
        if (d.op == null) {
            return;
        }
        ReductionOp op = sums.computeIfAbsent(
                d.key,
                key -> new ReductionOp(
                        name + "_backward_sum",
                        d.roots.get(0),
                        signature.beside(d.gradients.length + d.outputs.length + d.inputs.length),
                        Combine.SUM));
        List<Tensor> operands = operands(d, saved, gradients);
        Shape full = operands.get(0).shape();
        int extra = full.rank() - shape.rank();
        int[] dims = new int[full.rank()];
        int n = 0;
        for (int k = 0; k < dims.length; k++) {
            if (k < extra || shape.size(k - extra) == 1 && full.size(k) != 1) {
                dims[n++] = k;
            }
        }
        Tensor t = op.call(operands, saved.scalars(), Arrays.copyOf(dims, n), false, null);
        result[i] = t.shape().equals(shape) ? t : t.reshape(shape.toArray());
    }

    private static List<Tensor> operands(Derived d, PointwiseOp.Saved saved, @Nullable Tensor[] gradients) {
        List<Tensor> operands = new ArrayList<>(d.gradients.length + d.outputs.length + d.inputs.length);
        for (int i : d.gradients) {
            operands.add(java.util.Objects.requireNonNull(gradients[i]));
        }
        for (int i : d.outputs) {
            operands.add(java.util.Objects.requireNonNull(saved.outputs()[i]));
        }
        for (int i : d.inputs) {
            operands.add(java.util.Objects.requireNonNull(saved.inputs()[i]));
        }
        return operands;
    }

    // ---------------------------------------------------------------- deriving

    private Derived derived(int first, int mask, int arrived) {
        long key = (long) first << 2 * GROUP | mask << GROUP | arrived;
        Derived d = last;
        if (d == null || d.key != key) {
            d = derived.computeIfAbsent(key, k -> derive(k, first, mask, arrived));
            last = d;
        }
        return d;
    }

    private Derived derive(long key, int first, int mask, int arrived) {
        BitSet defined = BitSet.valueOf(new long[] {arrived});
        List<@Nullable Expr> all = Derivative.vjp(code.roots(), code.inputs(), defined);
        List<Expr> roots = new ArrayList<>();
        List<Integer> targets = new ArrayList<>();
        int[] passed = new int[all.size()];
        BitSet gradients = new BitSet();
        BitSet outputs = new BitSet();
        BitSet inputs = new BitSet();
        for (int i = 0; i < all.size(); i++) {
            Expr e = all.get(i);
            passed[i] = -1;
            if (e == null || i < first || i >= first + GROUP || (mask >> i - first & 1) == 0) {
                continue;
            }
            if (e instanceof Variable v && v.role() == Variable.Role.GRADIENT) {
                passed[i] = v.index();
                continue;
            }
            roots.add(e);
            targets.add(i);
            gradients.or(Variable.uses(e, Variable.Role.GRADIENT));
            outputs.or(Variable.uses(e, Variable.Role.OUTPUT));
            inputs.or(Variable.uses(e, Variable.Role.INPUT));
        }
        int[] g = gradients.stream().toArray();
        int[] o = outputs.stream().toArray();
        int[] x = inputs.stream().toArray();
        List<Expr> renamed = new ArrayList<>();
        for (Expr root : roots) {
            renamed.add(root.substitute(e -> e instanceof Variable v ? renamed(v, g, o, x) : e));
        }
        PointwiseOp op = roots.isEmpty()
                ? null
                : new PointwiseOp(name + "_backward", renamed, signature.beside(g.length + o.length + x.length));
        return new Derived(
                key, renamed, op, g, o, x, targets.stream().mapToInt(i -> i).toArray(), passed);
    }

    static Expr renamed(Variable v, int[] g, int[] o, int[] x) {
        return switch (v.role()) {
            case GRADIENT -> Expr.input(Arrays.binarySearch(g, v.index()));
            case OUTPUT -> Expr.input(g.length + Arrays.binarySearch(o, v.index()));
            case INPUT -> Expr.input(g.length + o.length + Arrays.binarySearch(x, v.index()));
            default -> v;
        };
    }
}
