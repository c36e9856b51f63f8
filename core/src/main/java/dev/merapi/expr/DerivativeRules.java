// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr;

import static dev.merapi.expr.Algebra.ONE;
import static dev.merapi.expr.Algebra.ZERO;
import static dev.merapi.expr.Algebra.add;
import static dev.merapi.expr.Algebra.div;
import static dev.merapi.expr.Algebra.keepWhere;
import static dev.merapi.expr.Algebra.mul;
import static dev.merapi.expr.Algebra.neg;
import static dev.merapi.expr.Algebra.number;
import static dev.merapi.expr.Algebra.select;
import static dev.merapi.expr.Algebra.sub;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What each node passes on to its operands; one row an op. Formulas use the result {@code y} where that is cheaper. */
final class DerivativeRules {
    private static final double LN2 = Math.log(2);
    private static final double LN10 = Math.log(10);
    private static final double TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);
    private static final double ONE_OVER_SQRT_TWO_PI = 1 / Math.sqrt(2 * Math.PI);

    private final Set<Expr> roots;
    private final Set<Expr> differentiable;

    DerivativeRules(Set<Expr> roots, Set<Expr> differentiable) {
        this.roots = roots;
        this.differentiable = differentiable;
    }

    /** False for nodes whose derivative is zero, or that have no floating result. */
    static boolean passesGradient(Expr node) {
        if (node instanceof Cast cast) {
            return cast.dtype().isFloating();
        }
        if (!(node instanceof Apply apply)) {
            return true;
        }
        return switch (apply.op()) {
            case SIGN, FLOORDIV, TRUNCDIV -> false;
            default ->
                switch (apply.op().group()) {
                    case ROUNDING, PREDICATE, COMPARISON, LOGICAL, BITWISE, SHIFT, MEMORY -> false;
                    default -> true;
                };
        };
    }

    /** The gradient of each operand, given the node's; null where it is zero or nobody asks. */
    List<? extends @Nullable Expr> gradients(Expr node, Expr g) {
        if (node instanceof Cast) {
            return List.of(g);
        }
        if (node instanceof Call call) {
            return call.function().gradients(call, g);
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
            case RSQRT -> mul(number(-0.5), mul(g, mul(y.square(), y)));
            case RECIPROCAL -> neg(mul(g, y.square()));
            case EXP -> mul(g, y);
            case EXPM1 -> mul(g, add(y, ONE));
            case EXP2 -> mul(number(LN2), mul(g, y));
            case LOG -> div(g, x);
            case LOG1P -> div(g, add(x, ONE));
            case LOG2 -> div(g, mul(number(LN2), x));
            case LOG10 -> div(g, mul(number(LN10), x));
            case SIN -> mul(g, Exprs.cos(x));
            case COS -> neg(mul(g, Exprs.sin(x)));
            case TAN -> mul(g, add(ONE, y.square()));
            case ASIN -> mul(g, mul(sub(ONE, x), add(x, ONE)).rsqrt());
            case ACOS -> neg(mul(g, mul(sub(ONE, x), add(x, ONE)).rsqrt()));
            case ATAN -> div(g, add(x.square(), ONE));
            case SINH -> mul(g, Exprs.cosh(x));
            case COSH -> mul(g, Exprs.sinh(x));
            case TANH -> mul(g, sub(ONE, y.square()));
            case ASINH -> mul(g, add(x.square(), ONE).rsqrt());
            case ACOSH -> mul(g, mul(sub(x, ONE), add(x, ONE)).rsqrt());
            case ATANH -> div(g, mul(sub(ONE, x), add(x, ONE)));
            case ERF -> mul(number(TWO_OVER_SQRT_PI), mul(g, neg(x.square()).exp()));
            case ERFC -> mul(number(-TWO_OVER_SQRT_PI), mul(g, neg(x.square()).exp()));
            case SIGMOID -> mul(g, mul(y, sub(ONE, y)));
            case SOFTPLUS -> mul(g, x.sigmoid());
            case LOGSIGMOID -> mul(g, neg(x).sigmoid());
            case GELU -> mul(g, Exprs.geluGrad(x));
            case GELU_TANH -> mul(g, Exprs.geluTanhGrad(x));
            case SILU -> mul(g, Exprs.siluGrad(x));
            case GELU_GRAD -> mul(g, geluSecond(x));
            case GELU_TANH_GRAD -> mul(g, geluTanhSecond(x));
            case SILU_GRAD -> mul(g, siluSecond(x));
            default -> null;
        };
    }

    /** φ(x)(2 − x²), with x² bounded where φ has vanished: else ∞ · 0. */
    private static Expr geluSecond(Expr x) {
        Expr squared = x.square().clamp(null, number(2000));
        return mul(number(ONE_OVER_SQRT_TWO_PI), mul(mul(number(-0.5), squared).exp(), sub(number(2), squared)));
    }

    /** With t = tanh u: (1 − t²)(u′ + x u″/2 − x t u′²); x is bounded where 1 − t² has vanished. */
    private static Expr geluTanhSecond(Expr x) {
        double k = Math.sqrt(2 / Math.PI);
        double cubic = 0.044715;
        Expr z = x.clamp(number(-20), number(20));
        Expr squared = z.square();
        Expr t = mul(mul(number(k), z), add(mul(number(cubic), squared), ONE)).tanh();
        Expr slope = add(mul(number(3 * cubic * k), squared), number(k));
        Expr bend = mul(number(3 * cubic * k), squared);
        Expr inner = sub(add(slope, bend), mul(mul(z, t), slope.square()));
        return mul(sub(ONE, t.square()), inner);
    }

    /** σ(1 − σ)(2 + x(1 − 2σ)); x is bounded where σ(1 − σ) has vanished. */
    private static Expr siluSecond(Expr x) {
        Expr z = x.clamp(number(-800), number(800));
        Expr s = z.sigmoid();
        Expr inner = add(mul(z, sub(ONE, mul(number(2), s))), number(2));
        return mul(mul(s, sub(ONE, s)), inner);
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
            case ATAN2 -> {
                Expr scaled = div(g, add(a.square(), b.square()));
                yield pair(mul(scaled, b), neg(mul(scaled, a)));
            }
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
        return pair(select(Expr.apply(aLoses, a, b), ZERO, shared), select(Expr.apply(bLoses, a, b), ZERO, shared));
    }

    /** g · b · a^(b − 1), and 0 where b is 0: there a^(b − 1) may be infinite. */
    private static Expr powBase(Expr a, Expr b, Expr g) {
        if (!(b instanceof Constant c)) {
            return select(b.eq(ZERO), ZERO, mul(g, mul(b, a.pow(b.sub(1)))));
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
