// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What every node of an expression knows for the engine: its hash, its depth, and how to make itself anew. */
public abstract sealed class ExprNode extends Expr permits Variable, Constant, Apply, Cast, Call {
    private final int hash;
    private final int depth;

    /** @param below depth of the operands */
    ExprNode(int hash, int below) {
        this.hash = hash;
        this.depth = below + 1;
    }

    /** How many nodes the longest way to a leaf has. */
    public static int depth(Expr e) {
        return ((ExprNode) e).depth;
    }

    static int depth(Collection<? extends Expr> nodes) {
        int deepest = 0;
        for (Expr node : nodes) {
            deepest = Math.max(deepest, depth(node));
        }
        return deepest;
    }

    /** The same node over other operands. */
    abstract Expr withOperands(List<Expr> operands);

    /** Whether the other node is equal, given that operands are compared by identity (they are interned). */
    abstract boolean sameNode(Expr other);

    @Override
    public final boolean equals(@Nullable Object other) {
        return this == other || other instanceof ExprNode node && hash == node.hash && sameNode(node);
    }

    @Override
    public final int hashCode() {
        return hash;
    }

    /** Readable maths; subexpressions used often are named when the formula would get long. */
    @Override
    public final String toString() {
        return DeepStack.call(depth, () -> ExprPrinter.print(this));
    }
}
