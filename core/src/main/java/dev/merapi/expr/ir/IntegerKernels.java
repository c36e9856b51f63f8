// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.function.LongBinaryOperator;
import java.util.function.LongUnaryOperator;

/**
 * The interpreter's loops over integer and bool registers. Values are held in longs; results of i32 ops are wrapped to 32
 * bits afterwards, which for these ops gives what 32-bit arithmetic gives.
 */
final class IntegerKernels {
    private IntegerKernels() {}

    static void compute(Opcode op, RegType type, long[] into, long[] a, long[] b, int count) {
        if (op.arity() == 1) {
            LongUnaryOperator function = unary(op);
            for (int i = 0; i < count; i++) {
                into[i] = function.applyAsLong(a[i]);
            }
        } else {
            binary(op, type, into, a, b, count);
        }
        if (type == RegType.I32 && !op.isPredicate()) {
            for (int i = 0; i < count; i++) {
                into[i] = (int) into[i];
            }
        }
    }

    private static LongUnaryOperator unary(Opcode op) {
        return switch (op) {
            case NEG -> x -> -x;
            case ABS -> Math::abs;
            case SIGN -> Long::signum;
            case SQUARE -> x -> x * x;
            case RELU -> x -> Math.max(x, 0);
            case BITNOT -> x -> ~x;
            case NOT -> x -> x ^ 1;
            case WRAPU8 -> x -> x & 0xff;
            case WRAPI8 -> x -> (byte) x;
            case WRAPI16 -> x -> (short) x;
            default -> throw new AssertionError(op + " has no integer loop");
        };
    }

    private static void binary(Opcode op, RegType type, long[] into, long[] a, long[] b, int count) {
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
            default -> {
                LongBinaryOperator function = function(op, type == RegType.I32 ? 32 : 64);
                for (int i = 0; i < count; i++) {
                    into[i] = function.applyAsLong(a[i], b[i]);
                }
            }
        }
    }

    private static LongBinaryOperator function(Opcode op, int width) {
        return switch (op) {
            case MIN -> Math::min;
            case MAX -> Math::max;
            case FLOORDIV -> (x, y) -> y == 0 ? 0 : Math.floorDiv(x, y);
            case TRUNCDIV -> (x, y) -> y == 0 ? 0 : x / y;
            case REM -> (x, y) -> y == 0 ? 0 : Math.floorMod(x, y);
            case FMOD -> (x, y) -> y == 0 ? 0 : x % y;
            case POW -> ScalarMath::pow;
            case AND -> (x, y) -> x & y;
            case OR -> (x, y) -> x | y;
            case XOR -> (x, y) -> x ^ y;
            case SHL -> (x, y) -> y < 0 || y >= width ? 0 : x << y;
            case SHR -> (x, y) -> y < 0 || y >= width ? x >> 63 : x >> y;
            case EQ -> (x, y) -> x == y ? 1 : 0;
            case NE -> (x, y) -> x != y ? 1 : 0;
            case LT -> (x, y) -> x < y ? 1 : 0;
            case LE -> (x, y) -> x <= y ? 1 : 0;
            case GT -> (x, y) -> x > y ? 1 : 0;
            case GE -> (x, y) -> x >= y ? 1 : 0;
            default -> throw new AssertionError(op + " has no integer loop");
        };
    }

    static void toFloat(RegType to, double[] into, long[] a, int count) {
        for (int i = 0; i < count; i++) {
            into[i] = to == RegType.F32 ? (float) a[i] : (double) a[i];
        }
    }

    static void narrow(RegType to, long[] into, long[] a, int count) {
        for (int i = 0; i < count; i++) {
            into[i] = switch (to) {
                case I32 -> (int) a[i];
                case BOOL -> a[i] != 0 ? 1 : 0;
                default -> a[i];
            };
        }
    }
}
