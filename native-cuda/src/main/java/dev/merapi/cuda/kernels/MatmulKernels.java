// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Precision;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Activations;
import dev.merapi.ops.FeedForwardOp;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.List;

/**
 * Products of matrices: by a library, else by the tiles of {@link Gemm}, and for dtypes that neither takes by a plain
 * kernel.
 */
public final class MatmulKernels {
    public static final Family FAMILY = new Family("matmul.cuh", "matmul");
    private static final int TILE = 64;

    private final Kernels kernels;

    public MatmulKernels(Kernels kernels) {
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        MatmulKernels all = new MatmulKernels(kernels);
        table.put("matmul", LinearAlgebra.Matmul.class, ALL, all::matmul);
        table.put("linear", LinearAlgebra.Linear.class, ALL, all::linear);
        table.put(
                LinearGradients.NAME,
                LinearGradients.Args.class,
                LinearGradients.Parameters.class,
                ALL,
                all::gradients);
        table.put(FusedFeedForward.NAME, FeedForwardOp.Args.class, FusedFeedForward.Fed.class, ALL, all::feedForward);
        table.put(
                FusedFeedForward.BACKWARD_NAME,
                FusedFeedForward.BackwardArgs.class,
                FusedFeedForward.Gradients.class,
                ALL,
                all::feedForwardBackward);
    }

    private void linear(LinearAlgebra.Linear args, Tensor out) {
        run(MatrixProduct.of(args, out));
    }

    private void gradients(LinearGradients.Args args, LinearGradients.Parameters out) {
        MatrixProduct p = LinearGradients.product(args, out);
        if (!multiplied(p)) {
            run(p.withoutSums());
            try (Tensor sums = args.g().sum(0)) {
                out.bias().copy_(sums);
            }
        }
    }

    private void feedForward(FeedForwardOp.Args args, FusedFeedForward.Fed out) {
        activated(new LinearAlgebra.Linear(args.x(), args.up(), args.upBias()), out.inner(), out.active());
        run(MatrixProduct.of(new LinearAlgebra.Linear(out.active(), args.down(), args.downBias()), out.out()));
    }

    /** x·weightᵀ + bias into {@code inner}, and its GELU. */
    public void activated(LinearAlgebra.Linear up, Tensor inner, Tensor active) {
        if (!multiplied(FusedFeedForward.activated(up, inner, active))) {
            run(MatrixProduct.of(up, inner));
            Activations.GELU_TANH.into(active, List.of(inner), List.of());
        }
    }

    /** g·weight times the GELU's derivative at {@code inner}. True if the sums of its columns are made too. */
    public boolean beforeActivation(Tensor g, Tensor weight, Tensor inner, Tensor sums, Tensor before) {
        if (multiplied(FusedFeedForward.beforeActivation(g, weight, inner, sums, before))) {
            return true;
        }
        if (!multiplied(FusedFeedForward.beforeActivation(g, weight, inner, null, before))) {
            matmul(new LinearAlgebra.Matmul(g, weight), before);
            FusedFeedForward.GELU_GRADIENT.into(before, List.of(FusedFeedForward.rows(inner), before), List.of());
        }
        return false;
    }

    private void feedForwardBackward(FusedFeedForward.BackwardArgs args, FusedFeedForward.Gradients out) {
        try (Scope scope = TENSORS.openScope(Context.current())) {
            Tensor active = FusedFeedForward.rows(args.active());
            Tensor before = TENSORS.allocate(active.shape(), active.dtype(), active.device());
            Tensor g = FusedFeedForward.rows(args.grad());
            Tensor x = FusedFeedForward.rows(args.x());
            boolean summed = beforeActivation(g, args.down(), args.inner(), out.upBias(), before);
            gradients(new LinearGradients.Args(g, active), new LinearGradients.Parameters(out.down(), out.downBias()));
            if (summed) {
                run(MatrixProduct.of(new LinearAlgebra.Matmul(before.t(), x), out.up()));
            } else {
                gradients(new LinearGradients.Args(before, x), new LinearGradients.Parameters(out.up(), out.upBias()));
            }
            run(MatrixProduct.of(new LinearAlgebra.Matmul(before, args.up()), FusedFeedForward.rows(out.x())));
        }
    }

    private boolean multiplied(MatrixProduct p) {
        Blas blas = kernels.runtime().blas(p.out().device().index());
        return blas != null
                && blas.multiply(
                        p,
                        Precision.isTf32Allowed(),
                        Context.current().stream(p.out().device()));
    }

    private void matmul(LinearAlgebra.Matmul args, Tensor out) {
        MatrixProduct p = MatrixProduct.of(args, out);
        if (!Gemm.serves(p, kernels.runtime().properties(out.device().index()))
                || p.a().hasLines() && p.b().hasLines()) {
            run(p);
            return;
        }
        // No unit stride at all: a copy costs one pass, uncoalesced reads would cost one for each tile.
        try (Tensor a = p.a().hasLines() ? args.a().detach() : args.a().copy();
                Tensor b = p.b().hasLines() ? args.b().detach() : args.b().copy()) {
            run(MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out));
        }
    }

    private void run(MatrixProduct p) {
        if (multiplied(p)) {
            return;
        }
        // A library that has nothing with a bias, or shall not do it, still multiplies faster than our own.
        if (p.bias() != null && multiplied(p.withoutBias())) {
            p.out().add_(p.bias());
            return;
        }
        if (Gemm.serves(p, kernels.runtime().properties(p.out().device().index()))) {
            Gemm.run(kernels, p, Precision.isTf32Allowed());
        } else {
            plain(p);
        }
    }

    /** Any dtype and any strides. */
    private void plain(MatrixProduct p) {
        long tilesY = (p.m() + TILE - 1) / TILE;
        if (tilesY > 65535) {
            throw new ShapeException(
                    p.op() + ": " + p.m() + " rows are more than a grid can take\n  fix: split the operand.");
        }
        FAMILY.call(kernels, p.op(), p.out(), "matmul", p.dtype())
                .pointer(p.a().tensor())
                .pointer(p.b().tensor())
                .pointer(p.bias())
                .pointer(p.out())
                .word(p.m())
                .word(p.n())
                .word(p.k())
                .word(p.a().across())
                .word(p.a().along())
                .word(p.b().along())
                .word(p.b().across())
                .word(p.count())
                .struct(p.batchWords())
                .run(new CudaRuntime.Grid((p.n() + TILE - 1) / TILE, tilesY, Math.min(p.count(), 65535), 256, 1, 1, 0));
    }
}
