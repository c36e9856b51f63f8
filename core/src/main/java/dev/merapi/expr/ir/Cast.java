// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.List;

/** A conversion to a given dtype. */
public final class Cast extends ExprNode {
    private final DType dtype;
    private final Expr operand;

    private Cast(DType dtype, Expr operand) {
        super(dtype.hashCode() * 31 + operand.hashCode(), depth(operand));
        this.dtype = dtype;
        this.operand = operand;
    }

    public static Expr of(DType dtype, Expr operand) {
        return Interner.intern(new Cast(dtype, operand));
    }

    public DType dtype() {
        return dtype;
    }

    public Expr operand() {
        return operand;
    }

    @Override
    public List<Expr> operands() {
        return List.of(operand);
    }

    @Override
    Expr withOperands(List<Expr> replaced) {
        return of(dtype, replaced.get(0));
    }

    @Override
    boolean sameNode(Expr other) {
        return other instanceof Cast c && c.dtype == dtype && c.operand == operand;
    }
}
