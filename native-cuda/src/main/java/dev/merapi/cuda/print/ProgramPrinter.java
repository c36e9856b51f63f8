// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.expr.ir.Instruction;
import dev.merapi.expr.ir.Opcode;
import dev.merapi.expr.ir.Program;
import dev.merapi.expr.ir.RegType;
import java.util.BitSet;
import java.util.function.BiFunction;
import java.util.function.IntFunction;

/**
 * The instructions of a program as statements: register r5 is the variable {@code r5}, every opcode a function of the
 * prelude. Scalars are the fields {@code d0, l0, d1, …} of the arguments {@code a}.
 */
public final class ProgramPrinter {
    private final Program program;
    private final IntFunction<String> loads;
    private final BiFunction<Integer, String, String> stores;
    /** Whether nothing but 16 bits of each result is kept. */
    private final boolean keepsShort;

    /**
     * @param loads what reads input k
     * @param stores the statement, without its semicolon, that stores a register to output k
     */
    ProgramPrinter(Program program, IntFunction<String> loads, BiFunction<Integer, String, String> stores) {
        this.program = program;
        this.loads = loads;
        this.stores = stores;
        this.keepsShort = program.outputDTypes().stream().allMatch(d -> d.isFloating() && d.byteSize() == 2);
    }

    /** The fields for scalars. */
    String scalarFields(String in) {
        StringBuilder out = new StringBuilder();
        for (int s = 0; s < program.scalarCount(); s++) {
            out.append(in).append("double d").append(s).append(";\n");
            out.append(in).append("long long l").append(s).append(";\n");
        }
        return out.toString();
    }

    /** What depends on no element. */
    String prologue(String in) {
        return statements(in, 0, program.prologue());
    }

    /** What is done for each element. */
    String body(String in) {
        return statements(in, program.prologue(), program.instructions().size());
    }

    private String statements(String in, int from, int to) {
        StringBuilder out = new StringBuilder();
        BitSet declared = new BitSet();
        for (int n = from; n < to; n++) {
            Instruction s = program.instructions().get(n);
            out.append(in);
            if (s.dst() < 0) {
                out.append(stores.apply((int) s.imm(), "r" + s.a())).append(";\n");
                continue;
            }
            if (!declared.get(s.dst())) {
                declared.set(s.dst());
                out.append(CudaTypes.register(program.registers().get(s.dst()))).append(' ');
            }
            out.append('r').append(s.dst()).append(" = ").append(value(s)).append(";\n");
        }
        return out.toString();
    }

    private String value(Instruction s) {
        return switch (s.op()) {
            case LOAD -> loads.apply((int) s.imm());
            case CONST -> constant(s);
            case SCALAR ->
                switch (s.type()) {
                    case F32 -> "(float)a.d" + s.imm();
                    case F64 -> "a.d" + s.imm();
                    case I32 -> "(int)a.l" + s.imm();
                    case I64 -> "a.l" + s.imm();
                    case BOOL -> "a.l" + s.imm() + " != 0";
                };
            case CAST -> "cast_" + s.resultType() + "(r" + s.a() + ")";
            default ->
                "op_" + form(s) + s.op() + "(r" + s.a() + (s.b() >= 0 ? ", r" + s.b() : "")
                        + (s.c() >= 0 ? ", r" + s.c() : "") + ")";
        };
    }

    /** What stands before the name of a function that has a form for 16-bit results. */
    private String form(Instruction s) {
        boolean has = s.type() == RegType.F32 && (s.op() == Opcode.GELU || s.op() == Opcode.GELU_GRAD);
        return has && keepsShort ? "short_" : "";
    }

    private static String constant(Instruction s) {
        return switch (s.type()) {
            case F32 -> "__int_as_float(0x" + Integer.toHexString((int) s.imm()) + ")";
            case F64 -> "__longlong_as_double(0x" + Long.toHexString(s.imm()) + "ll)";
            case I32 -> "(int)0x" + Integer.toHexString((int) s.imm()) + "u";
            case I64 -> "(long long)0x" + Long.toHexString(s.imm()) + "ull";
            case BOOL -> s.imm() == 0 ? "false" : "true";
        };
    }
}
