// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.ALL;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.CopyOps;
import dev.merapi.ops.Factories;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Rearranging;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.Objects;

/** Ops that look at where an element stands: triangles, reversed dimensions, ranges, one-hot rows. */
final class PositionKernels {
    private static final Programs COPIES = new Programs();

    private PositionKernels() {}

    static void register(KernelTable table) {
        table.put("tril", Rearranging.Triangle.class, ALL, PositionKernels::lower);
        table.put("triu", Rearranging.Triangle.class, ALL, PositionKernels::upper);
        table.put("flip", Rearranging.Flip.class, ALL, PositionKernels::flip);
        table.put("arange", Factories.Arange.class, ALL, PositionKernels::arange);
        table.put("linspace", Factories.Linspace.class, ALL, PositionKernels::linspace);
        table.put("one_hot", Indexing.OneHot.class, ALL, PositionKernels::oneHot);
    }

    private static void lower(Rearranging.Triangle a, Tensor out) {
        triangle(a, out, true);
    }

    private static void upper(Rearranging.Triangle a, Tensor out) {
        triangle(a, out, false);
    }

    private static void triangle(Rearranging.Triangle a, Tensor out, boolean lower) {
        long rows = out.size(-2);
        long columns = out.size(-1);
        Native.triangle(
                out.dtype().byteSize(),
                a.x().address(),
                out.numel() / (rows * columns),
                rows,
                columns,
                a.diagonal(),
                lower ? 1 : 0,
                out.address());
    }

    /** A strided copy whose source is walked backwards along the dimensions. */
    static void flip(Rearranging.Flip a, Tensor out) {
        int full = out.rank();
        long width = out.dtype().byteSize();
        boolean[] flipped = new boolean[full];
        for (int d : a.dims()) {
            if (full > 0) {
                flipped[out.shape().normalize(d)] = true;
            }
        }
        long[] sizes = new long[full];
        long[] to = new long[full];
        long[] from = new long[full];
        long start = a.x().address();
        int rank = 0;
        for (int d = 0; d < full; d++) {
            long size = out.size(d);
            if (size == 1) {
                continue;
            }
            sizes[rank] = size;
            to[rank] = out.layout().stride(d) * width;
            from[rank] = (flipped[d] ? -1 : 1) * a.x().layout().stride(d) * width;
            start -= flipped[d] ? from[rank] * (size - 1) : 0;
            if (rank > 0 && to[rank - 1] == to[rank] * size && from[rank - 1] == from[rank] * size) {
                sizes[rank - 1] *= size;
                to[rank - 1] = to[rank];
                from[rank - 1] = from[rank];
            } else {
                rank++;
            }
        }
        PointwiseCode copy =
                (PointwiseCode) Objects.requireNonNull(CopyOps.CAST.definition().code());
        NativeProgram program = COPIES.of(copy.specialize(new Tensor[] {a.x()}, List.of(), out));
        Scratch scratch = Scratch.begin().reserve(4 + rank + 2 * (1 + rank));
        scratch.put(rank).put(1).put(1).put(0);
        for (int d = 0; d < rank; d++) {
            scratch.put(sizes[d]);
        }
        put(scratch, out.address(), to, rank);
        put(scratch, start, from, rank);
        boolean done = PointwiseKernel.succeeds("flip", Native.program_run(program.handle, scratch.address()));
        program.used();
        if (!done) {
            PointwiseKernel.runInJava(Rearranging.FLIP.definition(), a, out);
        }
    }

    private static void put(Scratch scratch, long address, long[] strides, int rank) {
        scratch.put(address);
        for (int d = 0; d < rank; d++) {
            scratch.put(strides[d]);
        }
    }

    private static boolean isIntegral(Number n) {
        return !(n instanceof Double || n instanceof Float);
    }

    static void arange(Factories.Arange a, Tensor out) {
        int dtype = DTypes.code(out.dtype());
        if (isIntegral(a.start()) && isIntegral(a.step())) {
            Native.arange(dtype, a.start().longValue(), a.step().longValue(), out.numel(), out.address());
        } else {
            Native.arange_real(dtype, a.start().doubleValue(), a.step().doubleValue(), out.numel(), out.address());
        }
    }

    static void linspace(Factories.Linspace a, Tensor out) {
        Native.linspace(DTypes.code(out.dtype()), a.start(), a.end(), out.numel(), out.address());
    }

    static void oneHot(Indexing.OneHot a, Tensor out) {
        int indexType = IndexKernels.checked("one_hot", a.indices(), a.classes());
        Native.one_hot(
                DTypes.code(out.dtype()),
                indexType,
                a.indices().address(),
                a.indices().numel(),
                a.classes(),
                out.address());
    }
}
