// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.cuda.host.Resources;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.CudaKernel;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Prints the kernel around a body that somebody wrote: one struct of 8-byte words as its argument, then names for its
 * fields and for the place of the thread, then the user's lines as line 1, 2, ….
 */
public final class BodyPrinter {
    public static final int MAX_RANK = 8;
    /** Words of a tensor. */
    public static final int VIEW_WORDS = 3 + 2 * MAX_RANK;

    private static final String VIEWS = Resources.text("body.cuh");
    private static final String IN_ROWS = """
                const int t = @T, threads = @N;
                const long long row = @ROW;
                if (row >= rows) return;
                const OverRow<Add, @WARP> row_sum{};
                const OverRow<Largest, @WARP> row_max{};
                const OverRow<Smallest, @WARP> row_min{};
            """;

    private final String op;
    private final String statements;
    private final CudaKernel.Launch launch;
    private final String real;
    private final StringBuilder fields = new StringBuilder();
    private final StringBuilder locals = new StringBuilder();
    private final Set<Class<?>> enums = new HashSet<>();

    /** @param real what floating scalars are given as */
    public BodyPrinter(String op, String statements, CudaKernel.Launch launch, DType real) {
        this.op = op;
        this.statements = statements;
        this.launch = launch;
        this.real = real == DType.FLOAT32 ? "float" : "double";
    }

    public void tensor(String name, Tensor t, boolean written) {
        field(view(name, t, written), name);
    }

    private String view(String name, Tensor t, boolean written) {
        if (t.rank() > MAX_RANK) {
            throw new ShapeException(op + ": argument " + name + " has rank " + t.rank()
                    + "; a kernel body takes tensors of rank " + MAX_RANK + " at most\n  fix: reshape it.");
        }
        return (written ? "Output<" : "Input<") + CudaTypes.storage(t.dtype()) + ", " + t.isContiguous() + ">";
    }

    /** An optional tensor that is not there: its view is false. */
    public void absent(String name) {
        field("Input<float, true>", name);
    }

    /** An output that is not wanted. */
    public void unwanted(String name) {
        line(locals, "const Unwanted " + name + "{};");
    }

    /** Tensors of one dtype. */
    public void tensors(String name, List<Tensor> all, boolean written) {
        String view = all.isEmpty() ? "Input<float, true>" : view(name, all.get(0), written);
        for (Tensor t : all) {
            if (!view(name, t, written).equals(view)) {
                throw new SchemaException(op + ": the tensors of " + name + " differ in dtype or in how they lie in"
                        + " memory, and a kernel body takes lists of one kind"
                        + "\n  fix: convert them, or take them as arguments of their own.");
            }
        }
        field("List<" + view + ", " + all.size() + ">", name);
    }

    public void scalar(String name, Object value) {
        boolean floating = value instanceof Double || value instanceof Float;
        if (value instanceof Enum<?> e && enums.add(e.getDeclaringClass())) {
            line(locals, constants(e));
        }
        String field = operand(floating ? "double" : "long long", name);
        String type = floating ? real : value instanceof Boolean ? "bool" : value instanceof Long ? "long long" : "int";
        line(locals, "const " + type + " " + name + " = (" + type + ")merapi_arguments." + field + ";");
    }

    /** The constants of an enum by name: {@code Reduction_MEAN}. */
    public static String constants(Enum<?> of) {
        Class<?> type = of.getDeclaringClass();
        return Arrays.stream(type.getEnumConstants())
                .map(c -> type.getSimpleName() + "_" + ((Enum<?>) c).name())
                .collect(Collectors.joining(", ", "enum { ", " };"));
    }

    /** Whether an optional plain argument is there. */
    public void presence(String name, boolean present) {
        line(locals, "const bool has_" + name + " = " + present + ";");
    }

    public void array(String name, boolean floating, int length) {
        field("List<" + (floating ? "double" : "long long") + ", " + length + ">", name);
    }

    private void field(String type, String name) {
        line(locals, "const auto& " + name + " = merapi_arguments." + operand(type, name) + ";");
    }

    /** The name of a field: called as its operand, it could hide the type of the next. */
    private String operand(String type, String name) {
        line(fields, type + " operand_" + name + ";");
        return "operand_" + name;
    }

    private static void line(StringBuilder to, String text) {
        to.append("    ").append(text).append('\n');
    }

    /** Words behind those of the operands: elements, rows and columns of the first output. */
    static final int EXTENT_WORDS = 3;

    public String text() {
        StringBuilder all = new StringBuilder("#line 1 \"" + KernelSource.GENERATED + "\"\n" + VIEWS);
        all.append("typedef ")
                .append(real)
                .append(" acc_t;\nstruct Arguments {\n")
                .append(fields);
        all.append("    long long element_count, row_count, column_count;\n};\n");
        all.append("extern \"C\" __global__ void __launch_bounds__(" + threads()
                + ") body(const Arguments merapi_arguments) {\n");
        all.append(locals).append("    const long long n = merapi_arguments.element_count;\n");
        String marked =
                "#line 1 \"" + op + " (body)\"\n" + statements + "\n#line 1000 \"" + KernelSource.GENERATED + "\"\n";
        if (launch instanceof CudaKernel.Elements e) {
            String step = e.threads() + "ll";
            all.append("    auto element = [&](const long long i) {\n")
                    .append(marked)
                    .append("    };\n");
            all.append("    for (long long i = blockIdx.x * ").append(step).append(" + threadIdx.x; i < n; i += ");
            all.append("gridDim.x * ").append(step).append(") element(i);\n}\n");
            return all.toString();
        }
        if (!(launch instanceof CudaKernel.Explicit)) {
            all.append(
                    "    const long long rows = merapi_arguments.row_count, columns = merapi_arguments.column_count;\n");
        }
        if (launch instanceof CudaKernel.Rows) {
            all.append(inRows("threadIdx.x", "blockDim.x", "blockIdx.x", false));
        } else if (launch instanceof CudaKernel.Warps w) {
            String row = "blockIdx.x * " + w.perBlock() + "ll + (threadIdx.x >> 5)";
            all.append(inRows("threadIdx.x & 31", "32", row, true));
        } else if (launch instanceof CudaKernel.Tiles t) {
            all.append("    const long long plane = blockIdx.z, row0 = blockIdx.y * ")
                    .append(t.height());
            all.append("ll, column0 = blockIdx.x * ").append(t.width());
            all.append("ll;\n    const long long row = row0 + threadIdx.y, column = column0 + threadIdx.x;\n");
        }
        return all.append("    {\n").append(marked).append("    }\n}\n").toString();
    }

    private static String inRows(String thread, String threads, String row, boolean warp) {
        return IN_ROWS.replace("@T", thread)
                .replace("@N", threads)
                .replace("@ROW", row)
                .replace("@WARP", "" + warp);
    }

    private int threads() {
        if (launch instanceof CudaKernel.Elements e) {
            return e.threads();
        }
        if (launch instanceof CudaKernel.Rows r) {
            return r.threads();
        }
        if (launch instanceof CudaKernel.Warps w) {
            return 32 * w.perBlock();
        }
        return launch instanceof CudaKernel.Tiles t ? t.blockX() * t.blockY() : 1024;
    }
}
