// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import org.jspecify.annotations.Nullable;

/**
 * Builds derivative expressions, simplifying as it goes. Everything here is of floating type, and the sign of a zero
 * does not matter.
 *
 * <p>A gradient that a {@code select} has zeroed stays zero: {@code select(c, g, 0) · f} becomes {@code select(c, g·f, 0)}
 * so that an infinite or undefined {@code f} of the branch not taken never meets the zero.
 */
final class Algebra {
    static final Expr ZERO = Expr.constant(0.0);
    static final Expr ONE = Expr.constant(1.0);

    private Algebra() {}

    static Expr number(double value) {
        return Expr.constant(value);
    }

    static Expr neg(Expr a) {
        if (a instanceof Constant c) {
            return number(-c.doubleValue());
        }
        if (is(a, Opcode.NEG)) {
            return operand(a, 0);
        }
        if (is(a, Opcode.SUB)) {
            return operand(a, 1).sub(operand(a, 0));
        }
        if (is(a, Opcode.MUL) && operand(a, 0) instanceof Constant c) {
            return mul(number(-c.doubleValue()), operand(a, 1));
        }
        if (masked(a)) {
            return mask(a, neg(operand(a, 1)), neg(operand(a, 2)));
        }
        return a.neg();
    }

    static Expr add(Expr a, Expr b) {
        if (isConstant(a, 0)) {
            return b;
        }
        if (isConstant(b, 0)) {
            return a;
        }
        if (a instanceof Constant x && b instanceof Constant y) {
            return number(x.doubleValue() + y.doubleValue());
        }
        if (a == b) {
            return mul(number(2), a);
        }
        if (masked(a) && masked(b) && operand(a, 0) == operand(b, 0)) {
            return mask(a, add(operand(a, 1), operand(b, 1)), add(operand(a, 2), operand(b, 2)));
        }
        if (is(b, Opcode.NEG)) {
            return sub(a, operand(b, 0));
        }
        if (is(a, Opcode.NEG)) {
            return sub(b, operand(a, 0));
        }
        return a.add(b);
    }

    static Expr sub(Expr a, Expr b) {
        if (isConstant(b, 0)) {
            return a;
        }
        if (isConstant(a, 0)) {
            return neg(b);
        }
        if (a instanceof Constant x && b instanceof Constant y) {
            return number(x.doubleValue() - y.doubleValue());
        }
        return is(b, Opcode.NEG) ? add(a, operand(b, 0)) : a.sub(b);
    }

    static Expr mul(Expr a, Expr b) {
        if (b instanceof Constant && !(a instanceof Constant)) {
            return mul(b, a);
        }
        if (a instanceof Constant c) {
            return scale(c.doubleValue(), b);
        }
        if (masked(a)) {
            return mask(a, times(operand(a, 1), b), times(operand(a, 2), b));
        }
        if (masked(b)) {
            return mask(b, times(operand(b, 1), a), times(operand(b, 2), a));
        }
        if (is(a, Opcode.NEG)) {
            return neg(mul(operand(a, 0), b));
        }
        if (is(b, Opcode.NEG)) {
            return neg(mul(a, operand(b, 0)));
        }
        if (is(a, Opcode.MUL) && operand(a, 0) instanceof Constant c) {
            return scale(c.doubleValue(), mul(operand(a, 1), b));
        }
        if (is(b, Opcode.MUL) && operand(b, 0) instanceof Constant c) {
            return scale(c.doubleValue(), mul(a, operand(b, 1)));
        }
        if (is(b, Opcode.RECIPROCAL)) {
            return div(a, operand(b, 0));
        }
        return a == b ? a.square() : a.mul(b);
    }

    static Expr div(Expr a, Expr b) {
        if (b instanceof Constant c) {
            double inverse = 1 / c.doubleValue();
            if (a instanceof Constant x) {
                return number(x.doubleValue() / c.doubleValue());
            }
            if (masked(a)) {
                return mask(a, over(operand(a, 1), b), over(operand(a, 2), b));
            }
            return isConstant(b, 1) || isPowerOfTwo(c.doubleValue()) ? scale(inverse, a) : a.div(b);
        }
        if (masked(a)) {
            return mask(a, over(operand(a, 1), b), over(operand(a, 2), b));
        }
        if (is(a, Opcode.NEG)) {
            return neg(div(operand(a, 0), b));
        }
        if (is(b, Opcode.NEG)) {
            return neg(div(a, operand(b, 0)));
        }
        return isConstant(a, 1) ? b.reciprocal() : a.div(b);
    }

    /** {@code condition ? a : b}, with equal branches merged. */
    static Expr select(Expr condition, Expr a, Expr b) {
        return a == b ? a : condition.select(a, b);
    }

    /** The gradient where the condition holds, else zero. */
    static Expr keepWhere(Expr condition, Expr gradient) {
        return select(condition, gradient, ZERO);
    }

    /** The sum of two gradients, either of which may be absent. */
    static Expr accumulate(@Nullable Expr a, Expr b) {
        return a == null ? b : add(a, b);
    }

    static boolean isConstant(Expr e, double value) {
        return e instanceof Constant c && c.is(value);
    }

    private static Expr scale(double factor, Expr b) {
        if (factor == 1) {
            return b;
        }
        if (factor == -1) {
            return neg(b);
        }
        if (b instanceof Constant c) {
            return number(factor * c.doubleValue());
        }
        if (is(b, Opcode.NEG)) {
            return scale(-factor, operand(b, 0));
        }
        if (is(b, Opcode.MUL) && operand(b, 0) instanceof Constant c) {
            return scale(factor * c.doubleValue(), operand(b, 1));
        }
        Expr constant = number(factor);
        if (masked(b)) {
            return mask(b, times(operand(b, 1), constant), times(operand(b, 2), constant));
        }
        return constant.mul(b);
    }

    /** A select with a branch that is the constant zero. */
    private static boolean masked(Expr e) {
        return is(e, Opcode.SELECT) && (isConstant(operand(e, 1), 0) || isConstant(operand(e, 2), 0));
    }

    private static Expr mask(Expr like, Expr a, Expr b) {
        return select(operand(like, 0), a, b);
    }

    private static Expr times(Expr branch, Expr factor) {
        return isConstant(branch, 0) ? ZERO : mul(branch, factor);
    }

    private static Expr over(Expr branch, Expr divisor) {
        return isConstant(branch, 0) ? ZERO : div(branch, divisor);
    }

    private static boolean isPowerOfTwo(double value) {
        return Double.doubleToLongBits(value) << 12 == 0 && Double.isFinite(1 / value);
    }

    private static boolean is(Expr e, Opcode op) {
        return e instanceof Apply a && a.op() == op;
    }

    private static Expr operand(Expr e, int k) {
        return e.operands().get(k);
    }
}
