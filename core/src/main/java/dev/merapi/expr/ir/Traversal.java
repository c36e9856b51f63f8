// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Walks over the nodes of expressions, each once. */
final class Traversal {
    private Traversal() {}

    /** Every node reachable from the roots, operands before the nodes that use them. */
    static List<Expr> postorder(Collection<Expr> roots) {
        List<Expr> order = new ArrayList<>();
        Set<Expr> seen = new HashSet<>();
        for (Expr root : roots) {
            visit(root, seen, order);
        }
        return order;
    }

    private static void visit(Expr node, Set<Expr> seen, List<Expr> order) {
        if (seen.add(node)) {
            for (Expr operand : node.operands()) {
                visit(operand, seen, order);
            }
            order.add(node);
        }
    }

    static BitSet uses(Collection<Expr> roots, Variable.Role role) {
        BitSet found = new BitSet();
        for (Expr node : postorder(roots)) {
            if (node instanceof Variable v && v.role() == role) {
                found.set(v.index());
            }
        }
        return found;
    }
}
