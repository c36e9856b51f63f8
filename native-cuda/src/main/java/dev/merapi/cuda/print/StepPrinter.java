// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.expr.ir.Program;
import dev.merapi.ops.code.StepCode;
import dev.merapi.types.DType;
import java.util.List;

/**
 * Prints the formula of an optimiser's step as a kernel over many tensors, in chunks of equal length. What changes from step
 * to step is read from device memory, and what depends on no element is calculated once a chunk.
 */
public final class StepPrinter {
    public static final int THREADS = 256;
    /** Elements that a block takes at a time. */
    public static final int CHUNK = 4096;
    /** Words of the arguments before settings and tensors: counts, and three addresses. */
    public static final int HEAD = 5;

    private static final int EACH = 4;

    private final StepCode code;
    private final Program program;
    private final boolean master;
    private final StringBuilder out = new StringBuilder();

    private StepPrinter(StepCode code, StepCode.Specialized specialized) {
        this.code = code;
        this.program = specialized.program();
        this.master = specialized.hasMaster();
    }

    /** Addresses of one parameter: parameter, gradient, master if there is one, states, count; its length and first chunk. */
    public static int words(StepCode code, boolean master) {
        return 5 + (master ? 1 : 0) + code.states();
    }

    /** The kernels {@code step} and, for after it, {@code counted}. */
    public static KernelSource source(String op, StepCode code, StepCode.Specialized specialized, int tensors) {
        StepPrinter p = new StepPrinter(code, specialized);
        p.print(tensors);
        return new KernelSource(op, p.out.toString(), List.of("step", "counted"));
    }

    /** Operands of the program's outputs and inputs have the same names where they are the same. */
    private String output(int k) {
        return k == 0 ? "p" : master && k == 1 ? "w" : "s" + (k - (master ? 2 : 1));
    }

    private String input(int k) {
        return k == 0 ? master ? "w" : "p" : k == 1 ? "g" : "s" + (k - 2);
    }

    private static String pack(DType dtype) {
        return "Pack<" + CudaTypes.storage(dtype) + ", " + EACH + ">";
    }

    private void print(int tensors) {
        line("namespace steps {\nusing namespace merapi;");
        line("struct Tensors {");
        for (int k = 0; k < program.outputDTypes().size(); k++) {
            line("    ", CudaTypes.storage(program.outputDTypes().get(k)), "* ", output(k), ";");
        }
        line("    const ", CudaTypes.storage(program.inputDTypes().get(1)), "* g;");
        line("    i64* steps;\n    i64 n, first;  // elements, and the first of the chunks\n};");
        line("struct Arguments {\n    i64 count, chunks;\n    const double *rate, *scale;\n    const float* skip;");
        line("    double setting[", code.settings() + 1, "];\n    Tensors of[", tensors, "];\n};");
        ProgramPrinter fields = printer();
        line("struct Scalars {\n", fields.scalarFields("    "), "};");
        line("template <class S>");
        line("MERAPI_F Pack<S, ", EACH, "> load(const S* from, i64 i, i64 end) {");
        line("    if (i + ", EACH, " <= end && (u64)from % 16 == 0) return *(const Pack<S, ", EACH, ">*)(from + i);");
        line("    Pack<S, ", EACH, "> p = {};");
        line("    for (int e = 0; e < ", EACH, "; e++)\n        if (i + e < end) p.v[e] = from[i + e];");
        line("    return p;\n}");
        line("template <class S>");
        line("MERAPI_F void store(S* to, i64 i, i64 end, const Pack<S, ", EACH, ">& p) {");
        line("    if (i + ", EACH, " <= end && (u64)to % 16 == 0) {");
        line("        *(Pack<S, ", EACH, ">*)(to + i) = p;\n        return;\n    }");
        line("    for (int e = 0; e < ", EACH, "; e++)\n        if (i + e < end) to[i + e] = p.v[e];\n}");
        line("}  // namespace steps\n");
        step();
        counted();
    }

    private void step() {
        line("extern \"C\" __global__ void __launch_bounds__(", THREADS, ") step(const steps::Arguments all) {");
        line("    using namespace steps;");
        line("    if (all.skip && *all.skip != 0) return;");
        line("    for (i64 chunk = blockIdx.x; chunk < all.chunks; chunk += gridDim.x) {");
        line("        int low = 0, high = int(all.count) - 1;");
        line("        while (low < high) {");
        line("            const int middle = (low + high + 1) / 2;");
        line("            if (all.of[middle].first <= chunk)\n                low = middle;");
        line("            else\n                high = middle - 1;\n        }");
        line("        const Tensors& t = all.of[low];");
        line("        const i64 begin = (chunk - t.first) * ", CHUNK, ", end = min(begin + ", CHUNK, ", t.n);");
        line("        Scalars a = {};");
        for (int k = 0; k <= code.decayAt(); k++) {
            line("        a.d", k, " = all.setting[", k, "];");
        }
        line("        a.d", code.rateAt(), " = *all.rate;");
        line("        a.d", code.stepAt(), " = t.steps ? double(*t.steps + 1) : 0;");
        line("        a.d", code.scaleAt(), " = all.scale ? *all.scale : 1;");
        out.append(printer().prologue("        "));
        line("        for (i64 i = begin + threadIdx.x * ", EACH, "; i < end; i += ", THREADS * EACH, ") {");
        for (int k = 0; k < program.inputDTypes().size(); k++) {
            line("            const auto in_", input(k), " = load(t.", input(k), ", i, end);");
        }
        for (int k = 0; k < program.outputDTypes().size(); k++) {
            line("            ", pack(program.outputDTypes().get(k)), " out_", output(k), ";");
        }
        line("#pragma unroll");
        line("            for (int e = 0; e < ", EACH, "; e++) {");
        out.append(printer().body("                "));
        line("            }");
        for (int k = 0; k < program.outputDTypes().size(); k++) {
            line("            store(t.", output(k), ", i, end, out_", output(k), ");");
        }
        line("        }\n    }\n}\n");
    }

    /** One step more for each tensor, after all blocks have read how many there were. */
    private void counted() {
        line("extern \"C\" __global__ void __launch_bounds__(", THREADS, ") counted(const steps::Arguments all) {");
        line("    if (all.skip && *all.skip != 0) return;");
        line("    for (int i = threadIdx.x; i < all.count; i += ", THREADS, ") ++*all.of[i].steps;");
        line("}");
    }

    private ProgramPrinter printer() {
        return new ProgramPrinter(
                program,
                k -> "rd(in_" + input(k) + ".v[e])",
                (k, register) -> "wr(out_" + output(k) + ".v[e], " + register + ")");
    }

    private void line(Object... parts) {
        for (Object part : parts) {
            out.append(part);
        }
        out.append('\n');
    }
}
