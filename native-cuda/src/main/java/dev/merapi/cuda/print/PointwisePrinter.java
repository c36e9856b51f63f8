// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.expr.ir.Program;
import dev.merapi.types.DType;
import java.util.BitSet;
import java.util.List;

/**
 * Prints a pointwise program as a CUDA kernel: all loads first, then the arithmetic, then the stores. Every opcode is a
 * function of the prelude. Sizes, strides and scalars are run-time arguments: they stand in one struct of 8-byte words.
 */
public final class PointwisePrinter {
    public static final int THREADS = 256;

    private final Program program;
    private final PointwiseVariant variant;
    private final int outputs;
    private final int inputs;
    private final BitSet used;
    private final String index;
    private final StringBuilder out = new StringBuilder();

    private PointwisePrinter(Program program, PointwiseVariant variant) {
        this.program = program;
        this.variant = variant;
        this.outputs = program.outputDTypes().size();
        this.inputs = program.inputDTypes().size();
        this.used = program.usedInputs();
        this.index = variant.wide() ? "long long" : "unsigned";
    }

    /** The kernel {@code pointwise}, without the prelude. */
    static String print(Program program, PointwiseVariant variant) {
        PointwisePrinter p = new PointwisePrinter(program, variant);
        p.kernel();
        return p.out.toString();
    }

    public static KernelSource source(String op, Program program, PointwiseVariant variant) {
        return new KernelSource(op, print(program, variant), List.of("pointwise"));
    }

    private DType dtype(int operand) {
        return operand < outputs
                ? program.outputDTypes().get(operand)
                : program.inputDTypes().get(operand - outputs);
    }

    /** {@code y0, y1, …} are outputs, {@code x0, x1, …} inputs. */
    private String name(int operand) {
        return operand < outputs ? "y" + operand : "x" + (operand - outputs);
    }

    private boolean isUsed(int operand) {
        return operand < outputs || used.get(operand - outputs);
    }

    private boolean hasOffset(int operand) {
        return isUsed(operand) && variant.rank() > 0 && !variant.isLinear(operand);
    }

    private void kernel() {
        arguments();
        out.append("\nextern \"C\" __global__ void __launch_bounds__(").append(THREADS);
        out.append(") pointwise(const Arguments a) {\n    using namespace merapi;\n");
        out.append(steps("").prologue("    "));
        for (int k = outputs; k < outputs + inputs; k++) {
            if (isUsed(k) && variant.rank() == 0 && variant.isUniform(k)) {
                line("    ", "const auto s", name(k), " = rd(*a.", name(k), ");");
            }
        }
        int v = variant.vector();
        line("    ", "const ", index, " stride = (", index, ")gridDim.x * ", THREADS, ";");
        line("    ", "const ", index, " first = (", index, ")blockIdx.x * ", THREADS, " + threadIdx.x;");
        line("    ", "const ", index, " packs = (", index, ")(a.n / ", v, ");");
        int only = onlyPack();
        if (only >= 0) {
            twoPacks(only);
        } else {
            line("    ", "for (", index, " i = first; i < packs; i += stride) {");
            if (variant.rank() > 0) {
                offsets();
            }
            loads(v);
            body(v);
            line("    ", "}");
        }
        if (v > 1 && variant.rank() == 0) {
            // Fewer than a vector's elements are left.
            line("    ", "for (", index, " i = packs * ", v, " + first; i < (", index, ")a.n; i += stride) {");
            loads(1);
            body(1);
            line("    ", "}");
        }
        out.append("}\n");
    }

    private void arguments() {
        out.append("struct Arguments {\n");
        for (int k = 0; k < outputs + inputs; k++) {
            String type = CudaTypes.storage(dtype(k));
            line("    ", k < outputs ? "" : "const ", type, "* ", name(k), ";");
        }
        line("    ", "long long n;");
        out.append(steps("").scalarFields("    "));
        for (int d = 0; d < variant.rank(); d++) {
            line("    ", "long long size", d, ";\n    unsigned long long magic", d, ";");
            for (int k = 0; k < outputs + inputs; k++) {
                line("    ", "long long stride", d, "_", name(k), ";");
            }
        }
        out.append("};\n");
    }

    /** From the index of a vector to where each operand's elements stand; the first dimension takes what is left. */
    private void offsets() {
        line("        ", index, " rest = i * ", variant.vector(), ";");
        for (int k = 0; k < outputs + inputs; k++) {
            if (hasOffset(k)) {
                line("        ", index, " o_", name(k), " = 0;");
            }
        }
        for (int d = variant.rank() - 1; d >= 0; d--) {
            line("        ", "{");
            if (d > 0) {
                String quotient = variant.wide() ? "rest / a.size" + d : "divide(rest, a.magic" + d + ")";
                line("            ", "const ", index, " q = ", quotient, ";");
                line("            ", "const ", index, " at = rest - q * (", index, ")a.size", d, ";");
                line("            ", "rest = q;");
            } else {
                line("            ", "const ", index, " at = rest;");
            }
            for (int k = 0; k < outputs + inputs; k++) {
                if (hasOffset(k)) {
                    line("            ", "o_", name(k), " += at * (", index, ")a.stride", d, "_", name(k), ";");
                }
            }
            line("        ", "}");
        }
    }

    /** The operand that is all that is read, in packs; -1 if there are more, or none. */
    private int onlyPack() {
        int only = -1;
        for (int k = outputs; k < outputs + inputs; k++) {
            if (isUsed(k) && !(variant.rank() == 0 && variant.isUniform(k))) {
                if (only >= 0) {
                    return -1;
                }
                only = k;
            }
        }
        return variant.rank() == 0 && variant.vector() > 1 ? only : -1;
    }

    /**
     * A single load a turn leaves too few bytes on their way: two packs are asked for before the first is worked on. The
     * work itself stands there once; what waits does so in words, whose parts nobody looks at.
     */
    private void twoPacks(int k) {
        int v = variant.vector();
        String words = "Pack<unsigned, " + v * dtype(k).byteSize() / Integer.BYTES + ">";
        String at = "*(const " + words + "*)(a." + name(k) + " + ";
        line("    ", "for (", index, " turn = first; turn < packs; turn += 2 * stride) {");
        line("        ", words, " words = ", at, "turn * ", v, "), next = words;");
        line("        ", "if (turn + stride < packs) next = ", at, "(turn + stride) * ", v, ");");
        line("", "#pragma unroll 1");
        line("        ", "for (", index, " i = turn; i < packs && i <= turn + stride; i += stride) {");
        line("        ", "const ", pack(k, v), " v_", name(k), " = *(const ", pack(k, v), "*)&words;");
        body(v);
        line("        ", "words = next;");
        line("        ", "}");
        line("    ", "}");
    }

    private String pack(int operand, int v) {
        return "Pack<" + CudaTypes.storage(dtype(operand)) + ", " + v + ">";
    }

    private void loads(int v) {
        String in = "        ";
        for (int k = outputs; k < outputs + inputs; k++) {
            if (isUsed(k) && !(variant.rank() == 0 && variant.isUniform(k))) {
                String at = place(k, v);
                if (v == 1 || variant.isUniform(k)) {
                    line(in, "const auto v_", name(k), " = *", at, ";");
                } else {
                    line(in, "const ", pack(k, v), " v_", name(k), " = *(const ", pack(k, v), "*)", at, ";");
                }
            }
        }
    }

    private void body(int v) {
        String in = "        ";
        for (int k = 0; k < outputs; k++) {
            if (v > 1) {
                line(in, pack(k, v), " w_", name(k), ";");
            }
        }
        if (v > 1) {
            line("", "#pragma unroll");
            line(in, "for (int e = 0; e < ", v, "; e++) {");
            out.append(steps("e").body(in + "    "));
            line(in, "}");
        } else {
            line(in, "{");
            out.append(steps("").body(in + "    "));
            line(in, "}");
        }
        for (int k = 0; k < outputs; k++) {
            if (v > 1) {
                line(in, "*(", pack(k, v), "*)", place(k, v), " = w_", name(k), ";");
            }
        }
    }

    /** Address of an operand's elements at the index at hand. */
    private String place(int operand, int v) {
        if (variant.rank() == 0 && variant.isUniform(operand)) {
            return "a." + name(operand);
        }
        return "(a." + name(operand) + " + " + (hasOffset(operand) ? "o_" + name(operand) : "i * " + v) + ")";
    }

    /** The program; {@code element} indexes vectors, or is empty. */
    private ProgramPrinter steps(String element) {
        return new ProgramPrinter(
                program,
                input -> {
                    int k = outputs + input;
                    if (variant.rank() == 0 && variant.isUniform(k)) {
                        return "s" + name(k);
                    }
                    return element.isEmpty() || variant.isUniform(k)
                            ? "rd(v_" + name(k) + ")"
                            : "rd(v_" + name(k) + ".v[" + element + "])";
                },
                (k, register) -> {
                    String at = element.isEmpty() ? "*" + place(k, 1) : "w_" + name(k) + ".v[" + element + "]";
                    return "wr(" + at + ", " + register + ")";
                });
    }

    private void line(String in, Object... parts) {
        out.append(in);
        for (Object part : parts) {
            out.append(part);
        }
        out.append('\n');
    }
}
