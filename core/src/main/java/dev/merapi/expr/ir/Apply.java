// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.List;

/** An {@link Opcode} applied to operands. */
public final class Apply extends ExprNode {
    private final Opcode op;
    private final List<Expr> operands;

    private Apply(Opcode op, List<Expr> operands) {
        super(op.hashCode() * 31 + operands.hashCode(), depth(operands));
        this.op = op;
        this.operands = operands;
    }

    /** @throws IllegalArgumentException if the op takes another number of operands, or exists in programs only */
    public static Expr of(Opcode op, Expr... operands) {
        return of(op, List.of(operands));
    }

    /** @throws IllegalArgumentException as above */
    public static Expr of(Opcode op, List<Expr> operands) {
        if (op.group() == Opcode.Group.MEMORY) {
            throw new IllegalArgumentException("expression: " + op + " exists in programs only");
        }
        if (operands.size() != op.arity()) {
            throw new IllegalArgumentException("expression: " + op + " takes " + op.arity() + " operands, got "
                    + operands.size() + "\n  fix: pass " + op.arity());
        }
        return Interner.intern(new Apply(op, operands));
    }

    public Opcode op() {
        return op;
    }

    @Override
    public List<Expr> operands() {
        return operands;
    }

    @Override
    Expr withOperands(List<Expr> replaced) {
        return of(op, replaced);
    }

    @Override
    boolean sameNode(Expr other) {
        return other instanceof Apply a && a.op == op && Interner.identical(a.operands, operands);
    }
}
