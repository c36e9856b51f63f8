// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Makes typed values: shares equal ones, folds constants, and simplifies where every bit of the result is kept (signs of
 * zero, infinities; NaN payloads apart). The one exception is x³, computed as x²·x.
 */
final class Values {
    private final Map<Value.Key, Value> known = new HashMap<>();

    Value load(int input, RegType type) {
        return intern(Opcode.LOAD, type, List.of(), input);
    }

    Value scalar(int k, RegType type) {
        return intern(Opcode.SCALAR, type, List.of(), k);
    }

    /** A constant of floating type, rounded to it. */
    Value constant(double value, RegType type) {
        long bits = switch (type) {
            case F32 -> Float.floatToIntBits((float) value);
            case F64 -> Double.doubleToLongBits(value);
            case I32 -> (int) value;
            case I64 -> (long) value;
            case BOOL -> value != 0 ? 1 : 0;
        };
        return intern(Opcode.CONST, type, List.of(), bits);
    }

    /** An integer constant: narrower integers keep the low bits. */
    Value constant(long value, RegType type) {
        return switch (type) {
            case F32 -> constant((double) (float) value, type);
            case F64 -> constant((double) value, type);
            case I32 -> intern(Opcode.CONST, type, List.of(), (int) value);
            case I64 -> intern(Opcode.CONST, type, List.of(), value);
            case BOOL -> intern(Opcode.CONST, type, List.of(), value != 0 ? 1 : 0);
        };
    }

    Value cast(Value a, RegType to) {
        RegType from = a.resultType();
        if (from == to) {
            return a;
        }
        if (a.is(Opcode.CAST) && a.type == to && keepsAll(to, from)) {
            return a.operand(0);
        }
        return foldOrIntern(Opcode.CAST, from, List.of(a), Instruction.code(to));
    }

    private static boolean keepsAll(RegType narrow, RegType wide) {
        return switch (narrow) {
            case BOOL -> true;
            case I32 -> wide == RegType.I64 || wide == RegType.F64;
            case F32 -> wide == RegType.F64;
            default -> false;
        };
    }

    /** Keeps what an integer dtype narrower than its register has room for; other values as they are. */
    Value wrap(Value a, DType dtype) {
        Opcode op = switch (dtype) {
            case UINT8 -> Opcode.WRAPU8;
            case INT8 -> Opcode.WRAPI8;
            case INT16 -> Opcode.WRAPI16;
            default -> null;
        };
        return op == null || a.is(op) ? a : foldOrIntern(op, RegType.I32, List.of(a), 0);
    }

    Value make(Opcode op, RegType type, Value... operands) {
        Value simpler = switch (operands.length) {
            case 1 -> unary(op, type, operands[0]);
            case 2 -> binary(op, type, operands[0], operands[1]);
            default -> ternary(op, type, operands);
        };
        if (simpler != null) {
            return simpler;
        }
        if (op.isCommutative() && operands[0].id > operands[1].id) {
            return foldOrIntern(op, type, List.of(operands[1], operands[0]), 0);
        }
        return foldOrIntern(op, type, List.of(operands), 0);
    }

    private @Nullable Value unary(Opcode op, RegType type, Value a) {
        boolean nested = a.is(Opcode.NEG) || a.is(Opcode.ABS);
        return switch (op) {
            case NEG, BITNOT, NOT -> a.is(op) ? a.operand(0) : null;
            case ABS, SQUARE -> nested ? make(op, type, a.operand(0)) : null;
            case RELU, FLOOR, CEIL, ROUND, TRUNC, SIGN -> a.is(op) ? a : null;
            default -> null;
        };
    }

    private @Nullable Value binary(Opcode op, RegType type, Value a, Value b) {
        boolean integer = type.isInteger();
        return switch (op) {
            case ADD -> {
                double zero = integer ? 0.0 : -0.0;
                yield b.isConst(zero) ? a : a.isConst(zero) ? b : null;
            }
            case SUB -> b.isConst(0.0) ? a : null;
            case MUL -> multiply(type, a, b);
            case DIV -> divide(type, a, b);
            case FLOORDIV, TRUNCDIV -> integer && b.isConst(1.0) ? a : null;
            case POW -> power(type, a, b);
            case MIN, MAX, AND, OR -> a == b ? a : null;
            default -> null;
        };
    }

    private @Nullable Value multiply(RegType type, Value a, Value b) {
        if (a.isConst() && !b.isConst()) {
            return make(Opcode.MUL, type, b, a);
        }
        if (b.isConst(1.0)) {
            return a;
        }
        if (b.isConst(-1.0)) {
            return make(Opcode.NEG, type, a);
        }
        if (type.isInteger() && b.isConst(0.0)) {
            return b;
        }
        return a == b ? make(Opcode.SQUARE, type, a) : null;
    }

    private @Nullable Value divide(RegType type, Value a, Value b) {
        if (b.isConst(1.0)) {
            return a;
        }
        if (a.isConst(1.0)) {
            return make(Opcode.RECIPROCAL, type, b);
        }
        if (b.isConst() && !a.isConst() && exactInverse(type, b.number())) {
            return make(Opcode.MUL, type, a, constant(1 / b.number(), type));
        }
        return null;
    }

    /** Whether the number is a power of two whose inverse is a normal number: then multiplying by it is exact. */
    private static boolean exactInverse(RegType type, double divisor) {
        int limit = type == RegType.F32 ? 126 : 1022;
        return Double.doubleToLongBits(divisor) << 12 == 0
                && divisor != 0
                && Math.abs(Math.getExponent(divisor)) <= limit;
    }

    private @Nullable Value power(RegType type, Value a, Value b) {
        if (b.isConst(1.0)) {
            return a;
        }
        if (b.isConst(2.0)) {
            return make(Opcode.SQUARE, type, a);
        }
        if (b.isConst(3.0)) {
            return make(Opcode.MUL, type, make(Opcode.SQUARE, type, a), a);
        }
        if (type.isFloating() && b.isConst(-1.0)) {
            return make(Opcode.RECIPROCAL, type, a);
        }
        return b.isConst() && b.number() == 0 ? constant(1L, type) : null;
    }

    private @Nullable Value ternary(Opcode op, RegType type, Value[] x) {
        if (op != Opcode.SELECT) {
            return null;
        }
        if (x[1] == x[2]) {
            return x[1];
        }
        if (x[0].isConst()) {
            return x[0].imm != 0 ? x[1] : x[2];
        }
        Value a = branch(x[0], x[1], 1);
        Value b = branch(x[0], x[2], 2);
        if (a != x[1] || b != x[2]) {
            return make(Opcode.SELECT, type, x[0], a, b);
        }
        return x[0].is(Opcode.NOT) ? make(Opcode.SELECT, type, x[0].operand(0), x[2], x[1]) : null;
    }

    /** What a branch comes to when it is itself a select by the same condition. */
    private static Value branch(Value condition, Value branch, int taken) {
        return branch.is(Opcode.SELECT) && branch.operand(0) == condition ? branch.operand(taken) : branch;
    }

    private Value foldOrIntern(Opcode op, RegType type, List<Value> operands, long imm) {
        for (Value operand : operands) {
            if (!operand.isConst()) {
                return intern(op, type, operands, imm);
            }
        }
        RegType result = Instruction.resultType(op, type, imm);
        return intern(Opcode.CONST, result, List.of(), Interpreter.fold(op, type, operands, imm));
    }

    private Value intern(Opcode op, RegType type, List<Value> operands, long imm) {
        Value.Key key = new Value.Key(op, type, operands, imm);
        Value value = known.get(key);
        if (value == null) {
            value = new Value(known.size(), op, type, operands, imm);
            known.put(key, value);
        }
        return value;
    }
}
