// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.ir.Algebra.ONE;
import static dev.merapi.expr.ir.Algebra.ZERO;
import static dev.merapi.expr.ir.Algebra.add;
import static dev.merapi.expr.ir.Algebra.div;
import static dev.merapi.expr.ir.Algebra.keepWhere;
import static dev.merapi.expr.ir.Algebra.mul;
import static dev.merapi.expr.ir.Algebra.neg;
import static dev.merapi.expr.ir.Algebra.number;
import static dev.merapi.expr.ir.Algebra.select;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What each node passes on to its operands; one row an op. Formulas use the result {@code y} where that is cheaper and as accurate; see {@link Slopes}. */
final class DerivativeRules {
    private static final double LN2 = Math.log(2);
    private static final double LN10 = Math.log(10);
    private static final double TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

    private final Set<Expr> roots;
    private final Set<Expr> differentiable;

    DerivativeRules(Set<Expr> roots, Set<Expr> differentiable) {
        this.roots = roots;
        this.differentiable = differentiable;
    }

    /** Whether a node is constant between jumps: its derivative is zero. */
    static boolean isStep(Expr node) {
        return node instanceof Apply apply
                && switch (apply.op()) {
                    case SIGN, FLOORDIV, TRUNCDIV -> true;
                    default -> apply.op().group() == Opcode.Group.ROUNDING;
                };
    }

    /** False for nodes whose derivative is zero, or that have no floating result. */
    static boolean passesGradient(Expr node) {
        if (node instanceof Cast cast) {
            return cast.dtype().isFloating();
        }
        if (!(node instanceof Apply apply)) {
            return true;
        }
        return !isStep(node)
                && switch (apply.op().group()) {
                    case PREDICATE, COMPARISON, LOGICAL, BITWISE, SHIFT, MEMORY -> false;
                    default -> true;
                };
    }

    /** The gradient of each operand, given the node's; null where it is zero or nobody asks. */
    List<? extends @Nullable Expr> gradients(Expr node, Expr g) {
        if (node instanceof Cast) {
            return List.of(g);
        }
        if (node instanceof Call call) {
            return call.gradients(g);
        }
        if (!(node instanceof Apply apply)) {
            return List.of();
        }
        List<Expr> x = apply.operands();
        return switch (x.size()) {
            case 1 -> Collections.singletonList(unary(apply.op(), x.get(0), apply, g));
            case 2 -> binary(apply, x.get(0), x.get(1), g);
            default -> ternary(apply.op(), x, g);
        };
    }

    private @Nullable Expr unary(Opcode op, Expr x, Expr y, Expr g) {
        return switch (op) {
            case NEG -> neg(g);
            case ABS -> mul(g, x.sign());
            case SQUARE -> mul(number(2), mul(g, x));
            // By the result where that is at hand, so that x need not be kept.
            case RELU -> select((roots.contains(y) ? y : x).le(ZERO), ZERO, g);
            case SQRT -> div(g, mul(number(2), y));
            // Not y³, which has three times the error of y, and overflows.
            case RSQRT -> div(mul(g, y.mul(-0.5)), x);
            case RECIPROCAL -> neg(mul(g, y.square()));
            case EXP -> mul(g, y);
            case EXPM1 -> mul(g, x.exp());
            case EXP2 -> mul(number(LN2), mul(g, y));
            case LOG -> div(g, x);
            case LOG1P -> div(g, add(x, ONE));
            case LOG2 -> div(mul(number(1 / LN2), g), x);
            case LOG10 -> div(mul(number(1 / LN10), g), x);
            case SIN -> mul(g, Exprs.cos(x));
            case COS -> neg(mul(g, Exprs.sin(x)));
            case TAN -> mul(g, add(ONE, y.square()));
            case ASIN -> mul(g, Slopes.oneMinusSquare(x).rsqrt());
            case ACOS -> neg(mul(g, Slopes.oneMinusSquare(x).rsqrt()));
            case ATAN -> mul(g, Slopes.asinh(x).square());
            case SINH -> mul(g, Exprs.cosh(x));
            case COSH -> mul(g, Exprs.sinh(x));
            case TANH -> mul(g, Slopes.tanh(x));
            case ASINH -> mul(g, Slopes.asinh(x));
            case ACOSH -> mul(g, Slopes.acosh(x));
            case ATANH -> div(g, Slopes.oneMinusSquare(x));
            case ERF -> mul(number(TWO_OVER_SQRT_PI), mul(g, neg(x.square()).exp()));
            case ERFC -> mul(number(-TWO_OVER_SQRT_PI), mul(g, neg(x.square()).exp()));
            case SIGMOID -> mul(g, Slopes.sigmoid(x));
            case SOFTPLUS -> mul(g, x.sigmoid());
            case LOGSIGMOID -> mul(g, neg(x).sigmoid());
            case GELU -> mul(g, Exprs.geluGrad(x));
            case GELU_TANH -> mul(g, Exprs.geluTanhGrad(x));
            case SILU -> mul(g, Exprs.siluGrad(x));
            case GELU_GRAD -> mul(g, Slopes.geluGrad(x));
            case GELU_TANH_GRAD -> mul(g, Slopes.geluTanhGrad(x));
            case SILU_GRAD -> mul(g, Slopes.siluGrad(x));
            default -> null;
        };
    }

    private List<@Nullable Expr> binary(Apply y, Expr a, Expr b, Expr g) {
        return switch (y.op()) {
            case ADD -> pair(g, g);
            case SUB -> pair(g, neg(g));
            case MUL -> pair(wanted(a) ? mul(g, b) : null, wanted(b) ? mul(g, a) : null);
            case DIV -> {
                Expr overB = div(g, b);
                yield pair(overB, wanted(b) ? neg(mul(overB, y)) : null);
            }
            case MIN -> extremum(a, b, Opcode.GT, Opcode.LT, g);
            case MAX -> extremum(a, b, Opcode.LT, Opcode.GT, g);
            case POW -> pair(wanted(a) ? powBase(a, b, g) : null, wanted(b) ? powExponent(a, b, y, g) : null);
            case FMOD -> pair(g, wanted(b) ? neg(mul(g, a.truncDiv(b))) : null);
            case REM -> pair(g, wanted(b) ? neg(mul(g, a.floorDiv(b))) : null);
            case ATAN2 -> Slopes.atan2(a, b, g);
            case COPYSIGN -> {
                Expr same = a.lt(ZERO).eq(y.lt(ZERO));
                yield pair(select(a.eq(ZERO), ZERO, select(same, g, neg(g))), null);
            }
            default -> pair(null, null);
        };
    }

    /** The winner takes the gradient; at ties each gets half; where an operand is NaN both get it. */
    private static List<@Nullable Expr> extremum(Expr a, Expr b, Opcode aLoses, Opcode bLoses, Expr g) {
        Expr shared = select(a.eq(b), mul(number(0.5), g), g);
        return pair(select(Apply.of(aLoses, a, b), ZERO, shared), select(Apply.of(bLoses, a, b), ZERO, shared));
    }

    /** g · b · a^(b − 1), and 0 where b is 0: there a^(b − 1) may be infinite. */
    private Expr powBase(Expr a, Expr b, Expr g) {
        if (!(b instanceof Constant c)) {
            Expr slope = wanted(b) ? Slopes.pow(a, b) : mul(b, a.pow(b.sub(1)));
            return select(b.eq(ZERO), ZERO, mul(g, slope));
        }
        double exponent = c.doubleValue();
        if (exponent == 0) {
            return ZERO;
        }
        if (exponent == 1) {
            return g;
        }
        Expr power = exponent == 2 ? a : exponent == 3 ? a.square() : a.pow(exponent - 1);
        return mul(number(exponent), mul(g, power));
    }

    /** g · a^b · log a, and 0 where a is 0 and b is not negative: the limit, while log gives −∞. */
    private static Expr powExponent(Expr a, Expr b, Expr y, Expr g) {
        if (a instanceof Constant c) {
            double base = c.doubleValue();
            return base == 0
                    ? keepWhere(b.lt(ZERO), mul(g, mul(number(Math.log(0)), y)))
                    : mul(number(Math.log(base)), mul(g, y));
        }
        Expr vanishes = a.eq(ZERO).and(b.ge(ZERO));
        return select(vanishes, ZERO, mul(g, mul(y, a.log())));
    }

    private List<@Nullable Expr> ternary(Opcode op, List<Expr> x, Expr g) {
        return switch (op) {
            case SELECT -> Arrays.asList(null, select(x.get(0), g, ZERO), select(x.get(0), ZERO, g));
            case FMA ->
                Arrays.asList(
                        wanted(x.get(0)) ? mul(g, x.get(1)) : null, wanted(x.get(1)) ? mul(g, x.get(0)) : null, g);
            default -> Arrays.asList(null, null, null);
        };
    }

    private boolean wanted(Expr operand) {
        return differentiable.contains(operand);
    }

    private static List<@Nullable Expr> pair(@Nullable Expr a, @Nullable Expr b) {
        return Arrays.asList(a, b);
    }
}
