// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/** Rebuilds expressions with some nodes replaced; each distinct node is looked at once. */
public final class Substitution {
    private final Map<Expr, Expr> known = new HashMap<>();
    private final UnaryOperator<Expr> replacement;

    private Substitution(UnaryOperator<Expr> replacement) {
        this.replacement = replacement;
    }

    public static Expr ofVariables(Expr root, UnaryOperator<Expr> replacement) {
        return new Substitution(node -> node instanceof Variable ? replacement.apply(node) : node).rebuild(root);
    }

    /** Replaces whole subexpressions, the outermost first. */
    static Expr ofNodes(Expr root, Map<Expr, Expr> replaced) {
        return new Substitution(node -> replaced.getOrDefault(node, node)).rebuild(root);
    }

    private Expr rebuild(Expr node) {
        Expr done = known.get(node);
        if (done != null) {
            return done;
        }
        Expr result = replacement.apply(node);
        if (result == node && !node.operands().isEmpty()) {
            List<Expr> operands = new ArrayList<>(node.operands().size());
            for (Expr operand : node.operands()) {
                operands.add(rebuild(operand));
            }
            if (!Interner.identical(operands, node.operands())) {
                result = ((ExprNode) node).withOperands(List.copyOf(operands));
            }
        }
        known.put(node, result);
        return result;
    }
}
