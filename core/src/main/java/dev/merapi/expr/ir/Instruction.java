// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.List;

/**
 * One step of a {@link Program}.
 *
 * @param op what to do
 * @param type type of the operands; of the result for load, const and scalar; of the two values for select
 * @param dst result register, −1 for store
 * @param a first operand register, or −1; the condition of select; the stored register of store
 * @param b second operand register, or −1
 * @param c third operand register, or −1
 * @param imm load, store, scalar: which input, output, scalar parameter; const: the raw bits, of 32-bit types
 *     in the low half; cast: the result
 *     type, see {@link #resultType()}; else 0
 */
public record Instruction(Opcode op, RegType type, int dst, int a, int b, int c, long imm) {
    private static final List<RegType> TYPES = List.of(RegType.values());

    /** What stands for the result type of a cast in {@code imm}, in this process. */
    static long code(RegType type) {
        return TYPES.indexOf(type);
    }

    /** Type of the result register. */
    public RegType resultType() {
        return resultType(op, type, imm);
    }

    static RegType resultType(Opcode op, RegType type, long imm) {
        if (op == Opcode.CAST) {
            return TYPES.get((int) imm);
        }
        return op.isPredicate() ? RegType.BOOL : type;
    }

    /** A line of the program text. */
    @Override
    public String toString() {
        StringBuilder line = new StringBuilder(32);
        if (op == Opcode.STORE) {
            return line.append("store ").append(imm).append(" r").append(a).toString();
        }
        line.append('r').append(dst).append(" = ").append(op);
        switch (op) {
            case LOAD -> line.append(' ').append(imm);
            case CONST -> line.append('.').append(type).append(" 0x").append(hex());
            case SCALAR -> line.append('.').append(type).append(' ').append(imm);
            case CAST ->
                line.append('.')
                        .append(type)
                        .append('.')
                        .append(resultType())
                        .append(" r")
                        .append(a);
            default -> {
                line.append('.').append(type).append(" r").append(a);
                if (b >= 0) {
                    line.append(" r").append(b);
                }
                if (c >= 0) {
                    line.append(" r").append(c);
                }
            }
        }
        return line.toString();
    }

    private String hex() {
        return switch (type) {
            case F32, I32 -> String.format("%08x", (int) imm);
            case F64, I64 -> String.format("%016x", imm);
            case BOOL -> imm == 0 ? "0" : "1";
        };
    }
}
