// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.BitSet;
import java.util.List;

/** A leaf whose value comes from outside. */
public final class Variable extends ExprNode {
    /** Where the value comes from. */
    public enum Role {
        INPUT("x"),
        SCALAR("s"),
        OUTPUT("y"),
        GRADIENT("g");

        private final String prefix;

        Role(String prefix) {
            this.prefix = prefix;
        }
    }

    private final Role role;
    private final int index;

    private Variable(Role role, int index) {
        super(role.hashCode() * 31 + index, 0);
        this.role = role;
        this.index = index;
    }

    public static Expr of(Role role, int index) {
        if (index < 0) {
            throw new IllegalArgumentException(
                    "expression: variable index " + index + " is negative\n  fix: count variables from 0");
        }
        return Interner.intern(new Variable(role, index));
    }

    /** Indices of the variables of a role that an expression contains. */
    public static BitSet uses(Expr e, Role role) {
        return DeepStack.call(depth(e), () -> Traversal.uses(List.of(e), role));
    }

    public Role role() {
        return role;
    }

    public int index() {
        return index;
    }

    String name() {
        return role.prefix + index;
    }

    @Override
    public List<Expr> operands() {
        return List.of();
    }

    @Override
    Expr withOperands(List<Expr> operands) {
        return this;
    }

    @Override
    boolean sameNode(Expr other) {
        return other instanceof Variable v && v.role == role && v.index == index;
    }
}
