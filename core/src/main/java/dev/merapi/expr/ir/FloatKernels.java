// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;

/** The interpreter's loops over floating registers; what is cheap has a loop of its own. */
final class FloatKernels {
    private FloatKernels() {}

    static void unary(Opcode op, double[] into, double[] a, int count) {
        switch (op) {
            case NEG -> {
                for (int i = 0; i < count; i++) {
                    into[i] = -a[i];
                }
            }
            case ABS -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.abs(a[i]);
                }
            }
            case SIGN -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.signum(a[i]);
                }
            }
            case SQUARE -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] * a[i];
                }
            }
            case RELU -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] <= 0 ? 0 : a[i];
                }
            }
            case FLOOR -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.floor(a[i]);
                }
            }
            case CEIL -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.ceil(a[i]);
                }
            }
            case ROUND -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.rint(a[i]);
                }
            }
            case SQRT -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.sqrt(a[i]);
                }
            }
            case RSQRT -> {
                for (int i = 0; i < count; i++) {
                    into[i] = 1 / Math.sqrt(a[i]);
                }
            }
            case RECIPROCAL -> {
                for (int i = 0; i < count; i++) {
                    into[i] = 1 / a[i];
                }
            }
            default -> {
                DoubleUnaryOperator function = function(op);
                for (int i = 0; i < count; i++) {
                    into[i] = function.applyAsDouble(a[i]);
                }
            }
        }
    }

    private static DoubleUnaryOperator function(Opcode op) {
        return switch (op) {
            case TRUNC -> ScalarMath::trunc;
            case EXP -> Math::exp;
            case EXPM1 -> Math::expm1;
            case EXP2 -> ScalarMath::exp2;
            case LOG -> Math::log;
            case LOG1P -> Math::log1p;
            case LOG2 -> ScalarMath::log2;
            case LOG10 -> Math::log10;
            case SIN -> Math::sin;
            case COS -> Math::cos;
            case TAN -> Math::tan;
            case ASIN -> Math::asin;
            case ACOS -> Math::acos;
            case ATAN -> Math::atan;
            case SINH -> Math::sinh;
            case COSH -> Math::cosh;
            case TANH -> Math::tanh;
            case ASINH -> ScalarMath::asinh;
            case ACOSH -> ScalarMath::acosh;
            case ATANH -> ScalarMath::atanh;
            case ERF -> ErrorFunction::erf;
            case ERFC -> ErrorFunction::erfc;
            case SIGMOID -> Activations::sigmoid;
            case SOFTPLUS -> Activations::softplus;
            case LOGSIGMOID -> Activations::logSigmoid;
            case GELU -> Activations::gelu;
            case GELU_TANH -> Activations::geluTanh;
            case SILU -> Activations::silu;
            case GELU_GRAD -> Activations::geluGrad;
            case GELU_TANH_GRAD -> Activations::geluTanhGrad;
            case SILU_GRAD -> Activations::siluGrad;
            default -> throw new AssertionError(op + " has no floating loop");
        };
    }

    static void binary(Opcode op, double[] into, double[] a, double[] b, int count) {
        switch (op) {
            case ADD -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] + b[i];
                }
            }
            case SUB -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] - b[i];
                }
            }
            case MUL -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] * b[i];
                }
            }
            case DIV -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] / b[i];
                }
            }
            case MIN -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.min(a[i], b[i]);
                }
            }
            case MAX -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Math.max(a[i], b[i]);
                }
            }
            default -> {
                DoubleBinaryOperator function = binaryFunction(op);
                for (int i = 0; i < count; i++) {
                    into[i] = function.applyAsDouble(a[i], b[i]);
                }
            }
        }
    }

    private static DoubleBinaryOperator binaryFunction(Opcode op) {
        return switch (op) {
            case POW -> ScalarMath::pow;
            case FMOD -> (x, y) -> x % y;
            case REM -> ScalarMath::rem;
            case FLOORDIV -> ScalarMath::floorDiv;
            case ATAN2 -> Math::atan2;
            case COPYSIGN -> Math::copySign;
            default -> throw new AssertionError(op + " has no floating loop");
        };
    }

    static void fma(double[] into, double[] a, double[] b, double[] c, int count) {
        for (int i = 0; i < count; i++) {
            into[i] = Math.fma(a[i], b[i], c[i]);
        }
    }

    static void predicate(Opcode op, long[] into, double[] a, double[] b, int count) {
        switch (op) {
            case EQ -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] == b[i] ? 1 : 0;
                }
            }
            case NE -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] != b[i] ? 1 : 0;
                }
            }
            case LT -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] < b[i] ? 1 : 0;
                }
            }
            case LE -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] <= b[i] ? 1 : 0;
                }
            }
            case GT -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] > b[i] ? 1 : 0;
                }
            }
            case GE -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] >= b[i] ? 1 : 0;
                }
            }
            case ISNAN -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] != a[i] ? 1 : 0;
                }
            }
            case ISINF -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Double.isInfinite(a[i]) ? 1 : 0;
                }
            }
            case ISFINITE -> {
                for (int i = 0; i < count; i++) {
                    into[i] = Double.isFinite(a[i]) ? 1 : 0;
                }
            }
            default -> throw new AssertionError(op + " has no floating loop");
        }
    }

    static void round(RegType to, double[] into, double[] a, int count) {
        if (to == RegType.F64) {
            System.arraycopy(a, 0, into, 0, count);
            return;
        }
        for (int i = 0; i < count; i++) {
            into[i] = (float) a[i];
        }
    }

    /** Saturating, from which narrower integers are wrapped; NaN gives 0, or true. */
    static void toInteger(RegType to, long[] into, double[] a, int count) {
        switch (to) {
            case I32 -> {
                for (int i = 0; i < count; i++) {
                    into[i] = (int) a[i];
                }
            }
            case I64 -> {
                for (int i = 0; i < count; i++) {
                    into[i] = (long) a[i];
                }
            }
            default -> {
                for (int i = 0; i < count; i++) {
                    into[i] = a[i] != 0 ? 1 : 0;
                }
            }
        }
    }
}
