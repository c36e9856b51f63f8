// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.expr.NamedFunction;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A {@link NamedFunction} applied to operands: computes its body, differentiates by its rule. */
public final class Call extends ExprNode {
    private final NamedFunction function;
    private final List<Expr> operands;
    private final Expr body;
    private final NamedFunction.Rule rule;

    private Call(NamedFunction function, List<Expr> operands, Expr body, NamedFunction.Rule rule) {
        super(function.hashCode() * 31 + operands.hashCode(), Math.max(depth(operands), depth(body)));
        this.function = function;
        this.operands = operands;
        this.body = body;
        this.rule = rule;
    }

    public static Expr of(NamedFunction function, List<Expr> operands, Expr body, NamedFunction.Rule rule) {
        return Interner.intern(new Call(function, operands, body, rule));
    }

    public NamedFunction function() {
        return function;
    }

    /** What is computed: the function's body over these operands. */
    public Expr body() {
        return body;
    }

    /** The gradient of each operand, by the function's rule. */
    List<? extends @Nullable Expr> gradients(Expr gradient) {
        List<? extends @Nullable Expr> gradients = rule.gradients(operands, this, gradient);
        if (gradients.size() != operands.size()) {
            throw new IllegalArgumentException(function + ": the derivative rule gave " + gradients.size()
                    + " gradients for " + operands.size() + " operands\n  fix: return one each, null where it is zero");
        }
        return gradients;
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
