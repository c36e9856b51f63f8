// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Kernel;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Products of matrices by our own kernel: any dtype, any strides, batches that broadcast. */
final class MatmulKernels {
    static final Family FAMILY = new Family("matmul.cuh", "matmul");
    private static final int TILE = 64;
    private static final int MAX_BATCH_RANK = 6;

    private final Kernels kernels;

    private MatmulKernels(Kernels kernels) {
        this.kernels = kernels;
    }

    static @Nullable Object kernel(String op, Kernels kernels) {
        MatmulKernels k = new MatmulKernels(kernels);
        return switch (op) {
            case "merapi::matmul" -> (Kernel<LinearAlgebra.Matmul, Tensor>) k::matmul;
            case "merapi::linear" -> (Kernel<LinearAlgebra.Linear, Tensor>) k::linear;
            default -> null;
        };
    }

    private void matmul(LinearAlgebra.Matmul args, Tensor out) {
        Tensor a = args.a();
        Tensor b = args.b();
        Shape batch = Shape.of(Arrays.copyOf(out.shape().toArray(), out.rank() - 2));
        long[] words = batch(a, b, batch);
        Layout la = a.layout();
        Layout lb = b.layout();
        run(
                "merapi::matmul",
                a,
                b,
                null,
                out,
                a.size(-2),
                b.size(-1),
                a.size(-1),
                new long[] {la.stride(-2), la.stride(-1), lb.stride(-2), lb.stride(-1)},
                batch.numel(),
                words);
    }

    /** x·weightᵀ: all rows of x as one matrix. */
    private void linear(LinearAlgebra.Linear args, Tensor out) {
        long in = args.weight().size(1);
        long width = args.weight().size(0);
        long rows = out.numel() / width;
        long[] none = new long[1 + 3 * MAX_BATCH_RANK];
        run(
                "merapi::linear",
                args.x(),
                args.weight(),
                args.bias(),
                out,
                rows,
                width,
                in,
                new long[] {in, 1, 1, in},
                1,
                none);
    }

    private void run(
            String op,
            Tensor a,
            Tensor b,
            @Nullable Tensor bias,
            Tensor c,
            long m,
            long n,
            long k,
            long[] strides,
            long count,
            long[] batch) {
        Family.Call call = FAMILY.call(kernels, op, c, "matmul", Family.type("T", c.dtype()));
        call.pointer(a).pointer(b).pointer(bias).pointer(c).word(m).word(n).word(k);
        for (long s : strides) {
            call.word(s);
        }
        call.word(count).struct(batch);
        long tilesY = (m + TILE - 1) / TILE;
        if (tilesY > 65535) {
            throw new ShapeException(op + ": " + m + " rows are more than a grid can take\n  fix: split the operand.");
        }
        call.run(new CudaRuntime.Grid((n + TILE - 1) / TILE, tilesY, Math.min(count, 65535), 256, 1, 1, 0));
    }

    /** Rank, then size and strides of each dimension. */
    private static long[] batch(Tensor a, Tensor b, Shape batch) {
        long[] words = new long[1 + 3 * MAX_BATCH_RANK];
        int rank = 0;
        for (int d = 0; d < batch.rank(); d++) {
            if (batch.size(d) == 1) {
                continue;
            }
            if (rank == MAX_BATCH_RANK) {
                throw new ShapeException("matmul: more than " + MAX_BATCH_RANK + " leading dimensions: " + batch
                        + "\n  fix: reshape the operands.");
            }
            words[1 + 3 * rank] = batch.size(d);
            words[2 + 3 * rank] = stride(a, d - batch.rank());
            words[3 + 3 * rank] = stride(b, d - batch.rank());
            rank++;
        }
        words[0] = rank;
        return words;
    }

    /** @param dim of the leading ones, counted from the end: −1 is the one before the matrix */
    private static long stride(Tensor t, int dim) {
        int d = t.rank() - 2 + dim;
        return d < 0 || t.size(d) == 1 ? 0 : t.layout().stride(d);
    }
}
