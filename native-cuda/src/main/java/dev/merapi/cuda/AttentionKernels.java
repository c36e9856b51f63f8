// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Kernel;
import dev.merapi.ops.Attention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/** Attention and its gradients, without the matrix of scores: on tensor cores, or for any dtype, width and strides. */
final class AttentionKernels {
    static final Family FAMILY = new Family(
            "attention.cuh", "attend", "attend_backward_inner", "attend_backward_queries", "attend_backward_keys");
    static final Family FLASH = Family.above(
            "mma.cuh",
            "flash.cuh",
            "flash_forward",
            "flash_backward_inner",
            "flash_backward_queries",
            "flash_backward_keys");
    private static final int THREADS = 128;
    /** Queries or keys that a block of {@link #FLASH} owns. */
    private static final int OWN = 64;

    private static final int MAX_WIDTH = 512;

    private final Kernels kernels;
    private final String op;

    private AttentionKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static @Nullable Object kernel(String op, Kernels kernels) {
        AttentionKernels k = new AttentionKernels(op, kernels);
        return switch (op) {
            case "merapi::attention" -> (Kernel<Attention.Args, Attention.AttentionResult>) k::forward;
            case "merapi::attention_backward" -> (Kernel<Attention.BackwardArgs, Attention.Gradients>) k::backward;
            default -> null;
        };
    }

    private Family.Call call(Tensor at, String entry) {
        return FAMILY.call(kernels, op, at, entry, at.dtype());
    }

    /** Sizes, whether causal, the scale, and the strides of the tensors that are read. */
    private long[] problem(
            Tensor q, Tensor k, Tensor v, @Nullable Tensor out, @Nullable Tensor grad, boolean causal, double scale) {
        if (q.size(3) > MAX_WIDTH) {
            throw new ShapeException(op + ": heads of " + q.size(3) + " elements; the CUDA kernel takes at most "
                    + MAX_WIDTH + "\n  fix: use more heads.");
        }
        long[] words = new long[7 + 5 * 4];
        long[] sizes = {
            q.size(0), q.size(1), q.size(2), k.size(2), q.size(3), causal ? 1 : 0, Double.doubleToRawLongBits(scale)
        };
        System.arraycopy(sizes, 0, words, 0, sizes.length);
        @Nullable Tensor[] read = {q, k, v, out, grad};
        for (int i = 0; i < read.length; i++) {
            Tensor t = read[i];
            for (int d = 0; d < 4 && t != null; d++) {
                words[7 + 4 * i + d] = t.layout().stride(d);
            }
        }
        return words;
    }

    private static CudaRuntime.Grid grid(long rows, Tensor q) {
        int bytes = (int) (2 * q.size(3) * q.dtype().computeType().byteSize());
        return new CudaRuntime.Grid(Math.min(rows, Integer.MAX_VALUE), 1, 1, THREADS, 1, 1, bytes);
    }

    /** What the kernels on tensor cores are compiled for. */
    record FlashTypes(DType dtype, long width) {
        String text() {
            return Family.type("T", dtype) + "#define WIDTH " + width + "\n";
        }
    }

    /** Whether the kernels on tensor cores can read all of these. */
    private boolean isForTensorCores(Tensor... read) {
        DType dtype = read[0].dtype();
        long width = read[0].size(3);
        boolean fits = (dtype == DType.BFLOAT16 || dtype == DType.FLOAT16)
                && (width == 32 || width == 64 || width == 128)
                && read[0].numel() > 0
                && read[1].numel() > 0
                && kernels.runtime().properties(read[0].device().index()).architecture() >= 80;
        for (Tensor t : read) {
            fits &= t.layout().stride(3) == 1 && t.address() % 16 == 0;
            for (int d = 0; d < 3; d++) {
                fits &= t.size(d) == 1 || t.layout().stride(d) % 8 == 0;
            }
        }
        return fits;
    }

    private Family.Call flash(Tensor q, String entry) {
        return FLASH.call(kernels, op, q, entry, new FlashTypes(q.dtype(), q.size(3)), FlashTypes::text);
    }

    private static CudaRuntime.Grid tiles(Tensor q, long positions) {
        return CudaRuntime.Grid.of(q.size(0) * q.size(1) * ((positions + OWN - 1) / OWN), THREADS);
    }

    private void forward(Attention.Args a, Attention.AttentionResult out) {
        long rows = out.lse().numel();
        if (rows == 0 || out.out().numel() == 0) {
            return;
        }
        if (isForTensorCores(a.q(), a.k(), a.v())) {
            flash(a.q(), "flash_forward")
                    .pointer(a.q())
                    .pointer(a.k())
                    .pointer(a.v())
                    .pointer(out.out())
                    .pointer(out.lse())
                    .struct(problem(a.q(), a.k(), a.v(), null, null, a.causal(), a.scale()))
                    .run(tiles(a.q(), a.q().size(2)));
            return;
        }
        call(a.q(), "attend")
                .pointer(a.q())
                .pointer(a.k())
                .pointer(a.v())
                .pointer(out.out())
                .pointer(out.lse())
                .struct(problem(a.q(), a.k(), a.v(), null, null, a.causal(), a.scale()))
                .run(grid(rows, a.q()));
    }

    private void backward(Attention.BackwardArgs a, Attention.Gradients out) {
        if (a.q().numel() == 0 || a.k().numel() == 0) {
            for (Tensor t : new Tensor[] {out.q(), out.k(), out.v()}) {
                if (t.numel() > 0) {
                    t.zero_();
                }
            }
            return;
        }
        // A gradient that is a sum's is one number, many times.
        if (!isForTensorCores(a.grad(), a.k()) && isForTensorCores(a.q(), a.k(), a.v(), a.out())) {
            try (Tensor grad = a.grad().copy()) {
                gradients(
                        new Attention.BackwardArgs(grad, a.q(), a.k(), a.v(), a.out(), a.lse(), a.causal(), a.scale()),
                        out);
            }
        } else {
            gradients(a, out);
        }
    }

    private void gradients(Attention.BackwardArgs a, Attention.Gradients out) {
        Tensor lse = a.lse().contiguous();
        long[] problem = problem(a.q(), a.k(), a.v(), a.out(), a.grad(), a.causal(), a.scale());
        boolean fast = isForTensorCores(a.q(), a.k(), a.v(), a.out(), a.grad());
        try (Tensor inner = Tensor.allocate(lse.shape(), lse.dtype(), lse.device())) {
            begun(fast, a.q(), "inner")
                    .pointer(a.grad())
                    .pointer(a.out())
                    .pointer(inner)
                    .struct(problem)
                    .each(fast ? lse.numel() * a.q().size(3) / 8 : lse.numel());
            begun(fast, a.q(), "queries")
                    .pointer(a.grad())
                    .pointer(a.q())
                    .pointer(a.k())
                    .pointer(a.v())
                    .pointer(lse)
                    .pointer(inner)
                    .pointer(out.q())
                    .struct(problem)
                    .run(fast ? tiles(a.q(), a.q().size(2)) : grid(lse.numel(), a.q()));
            begun(fast, a.q(), "keys")
                    .pointer(a.grad())
                    .pointer(a.q())
                    .pointer(a.k())
                    .pointer(a.v())
                    .pointer(lse)
                    .pointer(inner)
                    .pointer(out.k())
                    .pointer(out.v())
                    .struct(problem)
                    .run(
                            fast
                                    ? tiles(a.q(), a.k().size(2))
                                    : grid(a.k().size(0) * a.k().size(1) * a.k().size(2), a.q()));
        }
    }

    private Family.Call begun(boolean fast, Tensor at, String part) {
        return fast ? flash(at, "flash_backward_" + part) : call(at, "attend_backward_" + part);
    }
}
