// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;

/** Matrix products by BLAS and our own tiles. Transposed operands are told to the kernel; other strides are copied. */
final class MatmulKernels {
    private MatmulKernels() {}

    static void register(KernelTable table) {
        table.put("matmul", LinearAlgebra.Matmul.class, FLOATING, MatmulKernels::matmul);
        table.put("linear", LinearAlgebra.Linear.class, FLOATING, MatmulKernels::linear);
    }

    /** How a matrix lies: row-major with a leading dimension, or the transpose of that. */
    private record Form(Tensor tensor, boolean transposed, long leading) {
        /** The form of the last two dimensions, or null if they are neither. */
        static Form of(Tensor t) {
            Layout layout = t.layout();
            long rows = t.size(-2);
            long columns = t.size(-1);
            long rowStride = layout.stride(-2);
            long columnStride = layout.stride(-1);
            if ((columnStride == 1 || columns == 1) && (rowStride >= Math.max(1, columns) || rows == 1)) {
                return new Form(t, false, rows == 1 ? Math.max(1, columns) : rowStride);
            }
            if ((rowStride == 1 || rows == 1) && (columnStride >= Math.max(1, rows) || columns == 1)) {
                return new Form(t, true, columns == 1 ? Math.max(1, rows) : columnStride);
            }
            Tensor copy = t.contiguous();
            return new Form(copy, false, Math.max(1, columns));
        }
    }

    static void matmul(LinearAlgebra.Matmul args, Tensor out) {
        Blas.ensure();
        Form a = Form.of(args.a());
        Form b = Form.of(args.b());
        int dtype = DTypes.code(out.dtype());
        long m = out.size(-2);
        long n = out.size(-1);
        long k = args.a().size(-1);
        long batch = out.numel() / (m * n);
        if (batch > 1 && b.tensor.numel() == k * n && a.tensor.isContiguous()) {
            m *= batch; // one matrix for all: their rows are one tall matrix
            batch = 1;
        }
        if (batch == 1) {
            Native.gemm(
                    dtype,
                    a.transposed ? 1 : 0,
                    b.transposed ? 1 : 0,
                    m,
                    n,
                    k,
                    1,
                    a.tensor.address(),
                    a.leading,
                    b.tensor.address(),
                    b.leading,
                    0,
                    out.address(),
                    n);
            return;
        }
        Scratch scratch = Scratch.begin().reserve(Math.toIntExact(2 * batch));
        putOffsets(scratch, a.tensor, out, batch);
        putOffsets(scratch, b.tensor, out, batch);
        Native.gemm_batched(
                dtype,
                a.transposed ? 1 : 0,
                b.transposed ? 1 : 0,
                batch,
                m,
                n,
                k,
                1,
                a.tensor.address(),
                a.leading,
                0,
                scratch.address(0),
                b.tensor.address(),
                b.leading,
                0,
                scratch.address(Math.toIntExact(batch)),
                0,
                out.address(),
                n,
                m * n);
    }

    /** Where each batch entry begins, in elements from the first. */
    private static void putOffsets(Scratch scratch, Tensor t, Tensor out, long batch) {
        Layout layout = t.layout();
        int outRank = out.rank() - 2;
        int shift = out.rank() - t.rank();
        for (long e = 0; e < batch; e++) {
            long offset = 0;
            long rest = e;
            for (int d = outRank - 1; d >= 0; d--) {
                long size = out.size(d);
                int own = d - shift;
                if (own >= 0 && layout.size(own) != 1) {
                    offset += rest % size * layout.stride(own);
                }
                rest /= size;
            }
            scratch.put(offset);
        }
    }

    static void linear(LinearAlgebra.Linear args, Tensor out) {
        Blas.ensure();
        long width = args.weight().size(0);
        Tensor bias = args.bias();
        Native.linear(
                DTypes.code(out.dtype()),
                args.x().address(),
                args.weight().address(),
                bias == null ? 0 : bias.address(),
                out.numel() / width,
                args.weight().size(1),
                width,
                out.address());
    }
}
