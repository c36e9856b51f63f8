// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** A typed operation before registers are assigned; made by {@link Values} only, which keeps one of each. */
final class Value {
    final int id;
    final Opcode op;
    /** Type of the operands, as in {@link Instruction}. */
    final RegType type;

    final List<Value> operands;
    final long imm;

    Value(int id, Opcode op, RegType type, List<Value> operands, long imm) {
        this.id = id;
        this.op = op;
        this.type = type;
        this.operands = operands;
        this.imm = imm;
    }

    RegType resultType() {
        return Instruction.resultType(op, type, imm);
    }

    boolean is(Opcode other) {
        return op == other;
    }

    boolean isConst() {
        return op == Opcode.CONST;
    }

    /** Whether this is the constant with exactly this value; 0.0 and −0.0 differ. */
    boolean isConst(double value) {
        return op == Opcode.CONST && Double.doubleToLongBits(number()) == Double.doubleToLongBits(value);
    }

    /** A constant's value as a double. */
    double number() {
        return switch (type) {
            case F32 -> Float.intBitsToFloat((int) imm);
            case F64 -> Double.longBitsToDouble(imm);
            default -> imm;
        };
    }

    Value operand(int k) {
        return operands.get(k);
    }

    /** What makes two values the same computation. */
    record Key(Opcode op, RegType type, List<Value> operands, long imm) {
        // Not generated: the JVM links what is generated with dozens of classes, at the first expression of each
        // process.
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Key key
                    && key.op == op
                    && key.type == type
                    && key.imm == imm
                    && key.operands.equals(operands);
        }

        @Override
        public int hashCode() {
            return ((op.hashCode() * 31 + type.hashCode()) * 31 + Long.hashCode(imm)) * 31 + operands.hashCode();
        }
    }

    @Override
    public boolean equals(@Nullable Object other) {
        return this == other;
    }

    @Override
    public int hashCode() {
        return id;
    }
}
