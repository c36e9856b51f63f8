// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.cuda.host.Resources;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.expr.ir.Program;
import dev.merapi.expr.ir.RegType;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.types.DType;
import java.util.List;

/**
 * Prints what the loops of {@code reduce.cuh} stand on: the accumulator, the arguments, where inputs stand, how they are
 * loaded, the expressions in front and behind. Sizes, strides and scalars are run-time arguments.
 */
public final class ReducePrinter {
    private static final String LOOPS = "#line 1 \"reduce.cuh\"\n" + Resources.text("reduce.cuh");

    private final ReduceCode.Specialized code;
    private final Program program;
    private final ReduceVariant variant;
    private final List<DType> inputs;
    private final StringBuilder out = new StringBuilder();

    private ReducePrinter(ReduceCode.Specialized code, ReduceVariant variant) {
        this.code = code;
        this.program = code.program();
        this.variant = variant;
        this.inputs = program.inputDTypes();
    }

    public static KernelSource source(String op, ReduceCode.Specialized code, ReduceVariant variant) {
        ReducePrinter p = new ReducePrinter(code, variant);
        p.print();
        return new KernelSource(op, p.out.append(LOOPS).toString(), List.of("reduce", "again"));
    }

    private void print() {
        DType value = program.outputDTypes().get(0);
        out.append("namespace reduction {\nusing namespace merapi;\n");
        line("typedef ", variant.wide() ? "long long" : "unsigned", " Index;");
        line("typedef ", CudaTypes.storage(code.result()), " Result;");
        line("typedef ", CudaTypes.register(RegType.of(value)), " Value;");
        line("constexpr bool kRows = ", variant.rows(), ";");
        line("constexpr int kPack = ", variant.pack(), ", kAhead = ", ahead(), ";");
        out.append(Combiner.print(code.combine(), value));
        arguments();
        places();
        loads();
        value();
        store();
        out.append("}  // namespace reduction\n");
    }

    private int ahead() {
        return variant.ahead(inputs.stream().map(DType::byteSize).toList());
    }

    private void arguments() {
        line("struct Arguments {");
        line("    Result* y;\n    Acc* partial;");
        for (int k = 0; k < inputs.size(); k++) {
            line("    const ", CudaTypes.storage(inputs.get(k)), "* x", k, ";");
        }
        line("    long long results, elements, chunk, tiles, tx, ty;\n    double correction;");
        out.append(steps().scalarFields("    "));
        dimensions("k", variant.kept());
        dimensions("r", variant.reduced());
        line("};");
        line("struct Again {\n    Result* y;\n    Acc* partial;\n    const Acc* from;");
        line("    long long results, parts, chunk, tiles, tx, ty, rows, elements;\n    double correction;");
        out.append(steps().scalarFields("    "));
        line("};");
    }

    private void dimensions(String space, int rank) {
        for (int d = 0; d < rank; d++) {
            line("    long long ", space, "size", d, ";\n    unsigned long long ", space, "magic", d, ";");
            for (int k = 0; k < inputs.size(); k++) {
                line("    long long ", space, "stride", d, "_", k, ";");
            }
        }
    }

    /** From a result to its first element in each input. */
    private void places() {
        line("struct Places {");
        for (int k = 0; k < inputs.size(); k++) {
            line("    const ", CudaTypes.storage(inputs.get(k)), "* x", k, ";");
        }
        line("};");
        line("MERAPI_F Places places(const Arguments& a, long long result) {");
        walk("result", "k", variant.kept(), variant.many(), "long long");
        out.append("    return Places{");
        for (int k = 0; k < inputs.size(); k++) {
            out.append(k == 0 ? "" : ", ")
                    .append("a.x")
                    .append(k)
                    .append(" + o")
                    .append(k);
        }
        line("};\n}");
    }

    /** From there to N neighbours, which are either elements of the result from r on, or the r-th of N results. */
    private void loads() {
        line("template <int N>\nstruct Loaded {");
        for (int k = 0; k < inputs.size(); k++) {
            line("    ", type(k), " x", k, ";");
        }
        line("};");
        line("template <int N>\nMERAPI_F Loaded<N> load(const Arguments& a, const Places& at, Index r) {");
        walk("r", "r", variant.reduced(), variant.wide(), "Index");
        line("    Loaded<N> in;");
        for (int k = 0; k < inputs.size(); k++) {
            line("    in.x", k, " = *(const ", type(k), "*)(at.x", k, " + o", k, ");");
        }
        line("    return in;\n}");
    }

    private String type(int k) {
        String storage = CudaTypes.storage(inputs.get(k));
        return variant.isPacked(k) ? "Pack<" + storage + ", N>" : storage;
    }

    private void value() {
        line(
                "template <int N>\nMERAPI_F Value value(const Arguments& a, const Loaded<N>& in, int e) {\n    Value result;");
        out.append(steps().prologue("    ")).append(steps().body("    "));
        line("    return result;\n}");
    }

    /** From an accumulator to a result, with the arguments of either kernel. */
    private void store() {
        line("template <class A>\nMERAPI_F void store(const A& a, Result* at, Acc acc) {");
        line("    const auto combined = finished(acc, a.elements, a.correction);");
        Program behind = code.epilogue();
        if (behind == null) {
            line("    wr(*at, cast_", RegType.of(code.result()), "(combined));");
        } else {
            ProgramPrinter epilogue =
                    new ProgramPrinter(behind, k -> "combined", (k, register) -> "wr(*at, " + register + ")");
            out.append(epilogue.prologue("    ")).append(epilogue.body("    "));
        }
        line("}");
    }

    private ProgramPrinter steps() {
        return new ProgramPrinter(
                program,
                k -> "rd(in.x" + k + (variant.isPacked(k) ? ".v[e])" : ")"),
                (k, register) -> "result = " + register);
    }

    /** Declares {@code o0, o1, …}: how far each input steps to an index of a space. */
    private void walk(String at, String space, int rank, boolean wide, String offset) {
        for (int k = 0; k < inputs.size(); k++) {
            line("    ", offset, " o", k, " = 0;");
        }
        String index = wide ? "long long" : "unsigned";
        if (rank > 1) {
            line("    ", index, " rest = (", index, ")", at, ";");
        }
        for (int d = rank - 1; d >= 0; d--) {
            String c = "c" + d;
            String size = "a." + space + "size" + d;
            if (d > 0) {
                String quotient = wide ? "rest / " + size : "divide(rest, a." + space + "magic" + d + ")";
                line("    const ", index, " q", d, " = ", quotient, ";");
                line("    const ", index, " ", c, " = rest - q", d, " * (", index, ")", size, ";");
                line("    rest = q", d, ";");
            }
            String step = d > 0 ? c : rank > 1 ? "rest" : at;
            for (int k = 0; k < inputs.size(); k++) {
                // Packs lie along the last dimension, where their inputs step by 1.
                boolean unit = variant.pack() > 1 && variant.rows() && space.equals("r") && d == rank - 1;
                if (!unit) {
                    line(
                            "    o", k, " += (", offset, ")", step, " * (", offset, ")a.", space, "stride", d, "_", k,
                            ";");
                } else if (variant.isPacked(k)) {
                    line("    o", k, " += (", offset, ")", step, ";");
                }
            }
        }
    }

    private void line(Object... parts) {
        for (Object part : parts) {
            out.append(part);
        }
        out.append('\n');
    }
}
