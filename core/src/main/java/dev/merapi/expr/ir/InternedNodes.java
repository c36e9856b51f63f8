// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.List;
import java.util.function.UnaryOperator;

/** Makes the nodes that there are, each structure once. */
public final class InternedNodes implements Nodes<Expr> {
    /** For the service loader. */
    public InternedNodes() {}

    @Override
    public Expr input(int k) {
        return Variable.of(Variable.Role.INPUT, k);
    }

    @Override
    public Expr scalar(int k) {
        return Variable.of(Variable.Role.SCALAR, k);
    }

    @Override
    public Expr output(int k) {
        return Variable.of(Variable.Role.OUTPUT, k);
    }

    @Override
    public Expr gradient(int k) {
        return Variable.of(Variable.Role.GRADIENT, k);
    }

    @Override
    public Expr constant(double value) {
        return Constant.of(value);
    }

    @Override
    public Expr constant(long value) {
        return Constant.of(value);
    }

    @Override
    public Expr constant(boolean value) {
        return Constant.of(value);
    }

    @Override
    public Expr apply(Opcode op, List<Expr> operands) {
        return Apply.of(op, operands);
    }

    @Override
    public Expr cast(DType dtype, Expr operand) {
        return Cast.of(dtype, operand);
    }

    @Override
    public Expr substitute(Expr root, UnaryOperator<Expr> replacement) {
        return DeepStack.call(ExprNode.depth(root), () -> Substitution.ofVariables(root, replacement));
    }
}
