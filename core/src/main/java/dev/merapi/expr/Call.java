// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import java.util.List;

/** A {@link NamedFunction} applied to operands: computes its body, differentiates by its rule. */
public final class Call extends Expr {
    private final NamedFunction function;
    private final List<Expr> operands;
    private final Expr body;

    private Call(NamedFunction function, List<Expr> operands, Expr body) {
        super(function.hashCode() * 31 + operands.hashCode(), Math.max(depth(operands), body.depth()));
        this.function = function;
        this.operands = operands;
        this.body = body;
    }

    static Expr of(NamedFunction function, List<Expr> operands, Expr body) {
        return Interner.intern(new Call(function, operands, body));
    }

    public NamedFunction function() {
        return function;
    }

    /** What is computed: the function's body over these operands. */
    public Expr body() {
        return body;
    }

    @Override
    public List<Expr> operands() {
        return operands;
    }

    @Override
    Expr withOperands(List<Expr> replaced) {
        return function.call(replaced);
    }

    @Override
    boolean sameNode(Expr other) {
        return other instanceof Call c && c.function == function && Interner.identical(c.operands, operands);
    }
}
