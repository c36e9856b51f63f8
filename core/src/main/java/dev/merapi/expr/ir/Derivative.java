// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * Differentiation, in reverse and in forward mode, by the same table of rules. A derivative is an ordinary expression over the inputs, the forward results
 * ({@code output(k)}, used where it saves work) and the incoming gradients ({@code gradient(k)}); with those renamed to
 * inputs it is a pointwise op, and differentiates again.
 *
 * <p>Points without a derivative: relu, abs and sign give 0 at 0; min and max split the gradient at ties; clamp passes it
 * on its bounds; rounding, comparisons, integer and bit operations give none; select gives none to the branch not taken.
 */
public final class Derivative {
    private Derivative() {}

    /** As {@link #vjp(List, int)}, for an op with one result. */
    public static List<@Nullable Expr> vjp(Expr root, int inputs) {
        return vjp(List.of(root), inputs);
    }

    /**
     * The gradient of each of {@code input(0 … inputs − 1)}: the sum over results k of {@code gradient(k)} times the
     * derivative of {@code roots.get(k)}. Null where it is zero everywhere.
     */
    public static List<@Nullable Expr> vjp(List<Expr> roots, int inputs) {
        BitSet all = new BitSet();
        all.set(0, roots.size());
        return vjp(roots, inputs, all);
    }

    /**
     * As {@link #vjp(List, int)}, when only some results have a gradient. Throws IllegalArgumentException if a root
     * contains outputs or gradients: they depend on inputs in a way that is not written there, so rename them first.
     */
    public static List<@Nullable Expr> vjp(List<Expr> roots, int inputs, BitSet defined) {
        return DeepStack.call(ExprNode.depth(roots), () -> walked(roots, inputs, defined));
    }

    /** Whether some result has a gradient that is not zero everywhere: {@link #vjp(List, int)} without writing it down. */
    public static boolean exists(List<Expr> roots) {
        return DeepStack.call(ExprNode.depth(roots), () -> {
            BitSet all = new BitSet();
            all.set(0, roots.size());
            for (Expr reached : accumulated(roots, all).keySet()) {
                if (reached instanceof Variable v && v.role() == Variable.Role.INPUT) {
                    return true;
                }
            }
            return false;
        });
    }

    private static List<@Nullable Expr> walked(List<Expr> roots, int inputs, BitSet defined) {
        Map<Expr, Expr> gradients = accumulated(roots, defined);
        Map<Expr, Expr> reuse = results(roots);
        List<@Nullable Expr> found = new ArrayList<>(inputs);
        for (int k = 0; k < inputs; k++) {
            Expr gradient = gradients.get(Expr.input(k));
            found.add(gradient == null ? null : Substitution.ofNodes(gradient, reuse));
        }
        return found;
    }

    /** The gradient of each node that one flows to. */
    private static Map<Expr, Expr> accumulated(List<Expr> roots, BitSet defined) {
        List<Expr> order = Traversal.postorder(roots);
        Set<Expr> differentiable = differentiable(order, i -> true);
        DerivativeRules rules = new DerivativeRules(new HashSet<>(roots), differentiable);
        Map<Expr, Expr> gradients = new HashMap<>();
        for (int k = 0; k < roots.size(); k++) {
            if (defined.get(k) && differentiable.contains(roots.get(k))) {
                gradients.put(roots.get(k), Algebra.accumulate(gradients.get(roots.get(k)), Expr.gradient(k)));
            }
        }
        for (int i = order.size() - 1; i >= 0; i--) {
            Expr node = order.get(i);
            Expr gradient = gradients.get(node);
            if (gradient == null) {
                continue;
            }
            List<? extends @Nullable Expr> parts = rules.gradients(node, gradient);
            for (int k = 0; k < parts.size(); k++) {
                Expr operand = node.operands().get(k);
                Expr part = parts.get(k);
                if (part != null && differentiable.contains(operand)) {
                    gradients.put(operand, Algebra.accumulate(gradients.get(operand), part));
                }
            }
        }
        return gradients;
    }

    /**
     * Forward mode: the tangent of each root, with {@code gradient(i)} for the tangent of {@code input(i)}, and
     * {@code output(k)} for results that are worth using. Null where it is zero everywhere.
     *
     * @param active the inputs that have a tangent; those of the others are zero
     * @throws IllegalArgumentException as {@link #vjp(List, int, BitSet)}
     */
    public static List<@Nullable Expr> jvp(List<Expr> roots, BitSet active) {
        return DeepStack.call(ExprNode.depth(roots), () -> pushed(roots, active));
    }

    private static List<@Nullable Expr> pushed(List<Expr> roots, BitSet active) {
        List<Expr> order = Traversal.postorder(roots);
        Set<Expr> differentiable = differentiable(order, active::get);
        // The slopes are those of the backward, whichever operands move.
        DerivativeRules rules = new DerivativeRules(new HashSet<>(roots), differentiable(order, i -> true));
        Map<Expr, Expr> tangents = new HashMap<>();
        for (Expr node : order) {
            if (!differentiable.contains(node)) {
                continue;
            }
            if (node instanceof Variable v) {
                tangents.put(node, Expr.gradient(v.index()));
                continue;
            }
            // A rule is linear in the gradient: given an operand's tangent it says what that does to the node.
            for (int k = 0; k < node.operands().size(); k++) {
                Expr tangent = tangents.get(node.operands().get(k));
                List<? extends @Nullable Expr> parts = tangent == null ? List.of() : rules.gradients(node, tangent);
                Expr part = k < parts.size() ? parts.get(k) : null;
                if (part != null) {
                    tangents.put(node, Algebra.accumulate(tangents.get(node), part));
                }
            }
        }
        Map<Expr, Expr> reuse = results(roots);
        List<@Nullable Expr> found = new ArrayList<>(roots.size());
        for (Expr root : roots) {
            Expr tangent = tangents.get(root);
            found.add(tangent == null ? null : Substitution.ofNodes(tangent, reuse));
        }
        return found;
    }

    /**
     * Whether a root that has no derivative is a step function of an input, floor or sign: its slope is 0, where
     * comparisons and bits have none.
     */
    public static boolean isStep(Expr root) {
        return DeepStack.call(ExprNode.depth(root), () -> {
            Set<Expr> found = new HashSet<>();
            for (Expr node : Traversal.postorder(List.of(root))) {
                boolean input = node instanceof Variable v && v.role() == Variable.Role.INPUT;
                boolean passes = DerivativeRules.passesGradient(node) || DerivativeRules.isStep(node);
                int first = node instanceof Apply a && a.op() == Opcode.SELECT ? 1 : 0; // not by what is chosen
                if (input || passes && node.operands().stream().skip(first).anyMatch(found::contains)) {
                    found.add(node);
                }
            }
            return found.contains(root);
        });
    }

    private static Set<Expr> differentiable(List<Expr> order, IntPredicate active) {
        Set<Expr> found = new HashSet<>();
        for (Expr node : order) {
            if (node instanceof Variable v) {
                if (v.role() == Variable.Role.INPUT) {
                    if (active.test(v.index())) {
                        found.add(node);
                    }
                } else if (v.role() != Variable.Role.SCALAR) {
                    throw new IllegalArgumentException(
                            "derivative: the expression contains " + v.name()
                                    + ", which depends on the inputs\n  fix: substitute inputs for outputs and gradients first");
                }
            } else if (DerivativeRules.passesGradient(node)) {
                for (Expr operand : node.operands()) {
                    if (found.contains(operand)) {
                        found.add(node);
                        break;
                    }
                }
            }
        }
        return found;
    }

    /** The forward results worth reusing: those that cost more than a few cycles to compute again, and relu. */
    private static Map<Expr, Expr> results(List<Expr> roots) {
        Map<Expr, Expr> reuse = new HashMap<>();
        for (int k = 0; k < roots.size(); k++) {
            Expr root = roots.get(k);
            boolean relu = root instanceof Apply a && a.op() == Opcode.RELU;
            if (relu || Traversal.postorder(List.of(root)).stream().anyMatch(Derivative::isExpensive)) {
                reuse.putIfAbsent(root, Expr.output(k));
            }
        }
        return reuse;
    }

    private static boolean isExpensive(Expr node) {
        if (node instanceof Call call) {
            return Traversal.postorder(List.of(call.body())).stream().anyMatch(Derivative::isExpensive);
        }
        return node instanceof Apply a
                && switch (a.op().group()) {
                    case FLOAT_UNARY -> true;
                    case NUMERIC -> a.op() != Opcode.FMA;
                    case FLOAT_BINARY -> a.op() != Opcode.COPYSIGN;
                    default -> false;
                };
    }
}
