// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A function with a derivative rule of its own, applied to operands: computes its body, differentiates by its rule. */
public final class Call extends ExprNode {
    /** What is called, as its calls know it: {@code NamedFunction} makes one. Its text is its name. */
    public interface Function {
        /** Calls it with other operands. */
        Expr call(List<Expr> operands);

        /** The gradient of each operand; null where it is zero everywhere. */
        List<? extends @Nullable Expr> gradients(List<Expr> operands, Expr result, Expr gradient);
    }

    private final Function function;
    private final List<Expr> operands;
    private final Expr body;

    private Call(Function function, List<Expr> operands, Expr body) {
        super(function.hashCode() * 31 + operands.hashCode(), Math.max(depth(operands), depth(body)));
        this.function = function;
        this.operands = operands;
        this.body = body;
    }

    public static Expr of(Function function, List<Expr> operands, Expr body) {
        return Interner.intern(new Call(function, operands, body));
    }

    public Function function() {
        return function;
    }

    /** What is computed: the function's body over these operands. */
    public Expr body() {
        return body;
    }

    /** The gradient of each operand, by the function's rule. */
    List<? extends @Nullable Expr> gradients(Expr gradient) {
        List<? extends @Nullable Expr> gradients = function.gradients(operands, this, gradient);
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
