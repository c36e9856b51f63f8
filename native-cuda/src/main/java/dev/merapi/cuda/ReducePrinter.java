// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.expr.Program;
import dev.merapi.ops.ReduceCode;
import java.util.List;

/**
 * Prints a reduction. Blocks of 256 threads are tiles of 2ᵗˣ results by 2ᵗʸ parts of the elements that make one; a tile
 * takes one chunk of those, and what it finds goes to the result, if there is one chunk, else to memory from where {@code
 * again} goes on. Chunks depend on sizes only, so results do not depend on the device; there are no atomics.
 */
final class ReducePrinter {
    static final int THREADS = 256;

    private final ReduceCode.Specialized code;
    private final Program program;
    private final int kept;
    private final int reduced;
    private final String index;
    private final StringBuilder out = new StringBuilder();

    private ReducePrinter(ReduceCode.Specialized code, int kept, int reduced, boolean wide) {
        this.code = code;
        this.program = code.program();
        this.kept = kept;
        this.reduced = reduced;
        this.index = wide ? "long long" : "unsigned";
    }

    /**
     * @param kept dimensions that results are indexed by
     * @param reduced dimensions that are reduced
     * @param wide whether indices need 64 bits
     */
    static KernelSource source(String op, ReduceCode.Specialized code, int kept, int reduced, boolean wide) {
        ReducePrinter p = new ReducePrinter(code, kept, reduced, wide);
        p.print(wide);
        return new KernelSource(op, p.out.toString(), List.of("reduce", "again"));
    }

    private void print(boolean wide) {
        int inputs = program.inputDTypes().size();
        ProgramPrinter steps = new ProgramPrinter(
                program,
                k -> "rd(a.x" + k + "[o" + k + " + p" + k + "])",
                (k, register) -> "add(acc, " + register + ", (long long)r)");

        out.append("namespace reduction {\nusing namespace merapi;\n");
        out.append(Combiner.print(code.combine(), program.outputDTypes().get(0), code.result()));
        // Tree over the parts of a tile; lower parts stand left, so that order is kept.
        out.append("""
                struct Tile {
                    int x, y, widthLog, heightLog;
                    MERAPI_F Tile(int tx, int ty, bool rows) : widthLog(tx), heightLog(ty) {
                        const int t = threadIdx.x;
                        x = rows ? t >> ty : t & ((1 << tx) - 1);
                        y = rows ? t & ((1 << ty) - 1) : t >> tx;
                    }
                };
                MERAPI_F Acc joined(Acc acc, const Tile& tile, Acc* shared) {
                    const int at = tile.y << tile.widthLog | tile.x;
                    shared[at] = acc;
                    for (int half = 1 << tile.heightLog >> 1; half > 0; half >>= 1) {
                        __syncthreads();
                        if (tile.y < half) shared[at] = join(shared[at], shared[at + (half << tile.widthLog)]);
                    }
                    return shared[at];
                }
                }  // namespace reduction
                struct Arguments {
                """);
        out.append("    ").append(CudaTypes.storage(code.result())).append("* y;\n    reduction::Acc* partial;\n");
        for (int k = 0; k < inputs; k++) {
            out.append("    const ")
                    .append(CudaTypes.storage(program.inputDTypes().get(k)))
                    .append("* x")
                    .append(k)
                    .append(";\n");
        }
        out.append("    long long results, elements, chunk, tiles, tx, ty, rows;\n    double correction;\n");
        out.append(steps.scalarFields("    "));
        dimensions("k", kept, inputs);
        dimensions("r", reduced, inputs);
        out.append("};\n");

        out.append("""
                extern "C" __global__ void __launch_bounds__(256) reduce(const Arguments a) {
                    using namespace reduction;
                    __shared__ Acc shared[256];
                    const Tile tile((int)a.tx, (int)a.ty, a.rows != 0);
                    const long long chunk = blockIdx.x / a.tiles;
                    const long long result = (blockIdx.x - chunk * a.tiles << a.tx) + tile.x;
                    Acc acc = empty();
                    if (result < a.results) {
                """);
        String in = "        ";
        out.append(steps.prologue(in));
        offsets(in, "o", "(" + index + ")result", "k", kept, inputs, wide);
        out.append(in).append("const long long end = min((chunk + 1) * a.chunk, a.elements);\n");
        out.append(in).append("for (long long r = chunk * a.chunk + tile.y; r < end; r += 1ll << a.ty) {\n");
        offsets(in + "    ", "p", "(" + index + ")r", "r", reduced, inputs, wide);
        out.append(steps.body(in + "    "));
        out.append("""
                        }
                    }
                    acc = joined(acc, tile, shared);
                    if (tile.y == 0 && result < a.results) {
                        if (a.partial) a.partial[chunk * a.results + result] = acc;
                        else finish(a.y + result, acc, a.elements, a.correction);
                    }
                }
                struct Again {
                    @R* y;
                    reduction::Acc* partial;
                    const reduction::Acc* from;
                    long long results, parts, chunk, tiles, tx, ty, rows, elements;
                    double correction;
                };
                extern "C" __global__ void __launch_bounds__(256) again(const Again a) {
                    using namespace reduction;
                    __shared__ Acc shared[256];
                    const Tile tile((int)a.tx, (int)a.ty, a.rows != 0);
                    const long long chunk = blockIdx.x / a.tiles;
                    const long long result = (blockIdx.x - chunk * a.tiles << a.tx) + tile.x;
                    Acc acc = empty();
                    if (result < a.results) {
                        const long long end = min((chunk + 1) * a.chunk, a.parts);
                        for (long long r = chunk * a.chunk + tile.y; r < end; r += 1ll << a.ty)
                            acc = join(acc, a.from[r * a.results + result]);
                    }
                    acc = joined(acc, tile, shared);
                    if (tile.y == 0 && result < a.results) {
                        if (a.partial) a.partial[chunk * a.results + result] = acc;
                        else finish(a.y + result, acc, a.elements, a.correction);
                    }
                }
                """.replace("@R", CudaTypes.storage(code.result())));
    }

    private void dimensions(String space, int rank, int inputs) {
        for (int d = 0; d < rank; d++) {
            out.append("    long long ").append(space).append("size").append(d).append(";\n");
            out.append("    unsigned long long ")
                    .append(space)
                    .append("magic")
                    .append(d)
                    .append(";\n");
            for (int k = 0; k < inputs; k++) {
                out.append("    long long ")
                        .append(space)
                        .append("stride")
                        .append(d)
                        .append('_')
                        .append(k)
                        .append(";\n");
            }
        }
    }

    /** Declares {@code <name>0, <name>1, …}: where each input stands at an index of a space. */
    private void offsets(String in, String name, String at, String space, int rank, int inputs, boolean wide) {
        for (int k = 0; k < inputs; k++) {
            out.append(in).append(index).append(' ').append(name).append(k).append(" = 0;\n");
        }
        out.append(in)
                .append("{\n")
                .append(in)
                .append("    ")
                .append(index)
                .append(" rest = ")
                .append(at)
                .append(";\n");
        for (int d = rank - 1; d >= 0; d--) {
            out.append(in).append("    {\n");
            if (d > 0) {
                String quotient =
                        wide ? "rest / a." + space + "size" + d : "divide(rest, a." + space + "magic" + d + ")";
                out.append(in)
                        .append("        const ")
                        .append(index)
                        .append(" q = ")
                        .append(quotient)
                        .append(";\n");
                out.append(in)
                        .append("        const ")
                        .append(index)
                        .append(" c = rest - q * (")
                        .append(index)
                        .append(")a.")
                        .append(space)
                        .append("size")
                        .append(d)
                        .append(";\n");
                out.append(in).append("        rest = q;\n");
            } else {
                out.append(in).append("        const ").append(index).append(" c = rest;\n");
            }
            for (int k = 0; k < inputs; k++) {
                out.append(in)
                        .append("        ")
                        .append(name)
                        .append(k)
                        .append(" += c * (")
                        .append(index)
                        .append(")a.")
                        .append(space)
                        .append("stride")
                        .append(d)
                        .append('_')
                        .append(k)
                        .append(";\n");
            }
            out.append(in).append("    }\n");
        }
        out.append(in).append("}\n");
    }
}
