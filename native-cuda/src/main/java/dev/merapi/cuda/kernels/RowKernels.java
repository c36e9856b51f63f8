// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.FLOATING;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.ops.LinearCrossEntropy;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Softmax;
import dev.merapi.reference.LossReference;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Softmax, normalisation and losses of classes. */
public final class RowKernels {
    public static final Family SOFTMAX = Family.above(
            "rows.cuh",
            "softmax.cuh",
            "softmax",
            "log_softmax",
            "softmax_backward",
            "log_softmax_backward",
            "logsumexp");
    public static final Family NORMS = Family.above(
            "rows.cuh", "norms.cuh", "normalize", "normalize_backward", "normalize_backward_parameters", "sum_chunks");
    public static final Family LOSSES = Family.above(
            "rows.cuh",
            "losses.cuh",
            "cross_entropy_rows",
            "nll_rows",
            "check_targets",
            "losses_reduced",
            "cross_entropy_backward",
            "nll_backward");
    /** Rows that one block sums up for the gradients of parameters, at least, and the chunks of them, at most. */
    private static final long CHUNK = 64;

    private static final long CHUNKS = 512;

    private final Kernels kernels;
    private final String op;

    private RowKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, RowKernels> of = op -> new RowKernels(op, kernels);
        table.make("softmax", Softmax.Along.class, FLOATING, of, RowKernels::softmax);
        table.make("log_softmax", Softmax.Along.class, FLOATING, of, RowKernels::logSoftmax);
        table.make("softmax_backward", Softmax.BackwardArgs.class, FLOATING, of, RowKernels::softmaxBackward);
        table.make("log_softmax_backward", Softmax.BackwardArgs.class, FLOATING, of, RowKernels::logSoftmaxBackward);
        table.make("logsumexp", Softmax.Along.class, FLOATING, of, RowKernels::logSumExp);
        table.make(
                "layer_norm",
                Normalization.LayerNorm.class,
                Normalization.LayerNormResult.class,
                FLOATING,
                of,
                RowKernels::layerNorm);
        table.make(
                "rms_norm",
                Normalization.RmsNorm.class,
                Normalization.RmsNormResult.class,
                FLOATING,
                of,
                RowKernels::rmsNorm);
        table.make(
                "layer_norm_backward",
                Normalization.LayerNormBackward.class,
                KernelTable.TENSORS,
                FLOATING,
                of,
                RowKernels::layerNormBackward);
        table.make(
                "rms_norm_backward",
                Normalization.RmsNormBackward.class,
                KernelTable.TENSORS,
                FLOATING,
                of,
                RowKernels::rmsNormBackward);
        table.make(
                "cross_entropy",
                Losses.CrossEntropy.class,
                Losses.CrossEntropyResult.class,
                FLOATING,
                of,
                RowKernels::crossEntropy);
        table.make(
                "linear_cross_entropy",
                LinearCrossEntropy.Args.class,
                LinearCrossEntropy.Result.class,
                FLOATING,
                of,
                RowKernels::linearCrossEntropy);
        table.make(
                "cross_entropy_backward",
                Losses.CrossEntropyBackward.class,
                FLOATING,
                of,
                RowKernels::crossEntropyBackward);
        table.make(
                "cross_entropy_backward_",
                Losses.CrossEntropyBackward.class,
                FLOATING,
                of,
                RowKernels::crossEntropyBackward);
        table.make("nll_loss", Losses.Nll.class, FLOATING, of, RowKernels::nll);
        table.make("nll_loss_backward", Losses.NllBackward.class, FLOATING, of, RowKernels::nllBackward);
    }

    private Family.Call call(Family family, String entry, Tensor at, RowForm.Types types) {
        return family.call(kernels, op, at, entry, types, RowForm.Types::text);
    }

    /** For kernels that go over elements one by one. */
    private Family.Call call(Family family, String entry, Tensor at) {
        return call(family, entry, at, new RowForm.Types(at.dtype(), 1, 0));
    }

    // ---------------------------------------------------------------- softmax

    /** A shape as [outer, size, inner] around a dimension. */
    private record Around(long outer, long size, long inner) {
        static Around of(Tensor t, int dim) {
            if (t.rank() == 0) {
                return new Around(1, 1, 1);
            }
            int d = t.shape().normalize(dim);
            long inner = 1;
            for (int i = d + 1; i < t.rank(); i++) {
                inner *= t.size(i);
            }
            long size = t.size(d);
            long outer = 1;
            for (int i = 0; i < d; i++) {
                outer *= t.size(i);
            }
            return new Around(outer, size, inner);
        }

        long rows() {
            return outer * inner;
        }

        /** @param tensors all that are read or written by packs */
        RowForm form(DType dtype, Tensor... tensors) {
            return inner == 1
                    ? RowForm.rows(dtype, outer, size, tensors)
                    : RowForm.columns(dtype, outer, size, inner, tensors);
        }
    }

    private void softmax(Softmax.Along a, Tensor out) {
        along(a, out, "softmax");
    }

    private void logSoftmax(Softmax.Along a, Tensor out) {
        along(a, out, "log_softmax");
    }

    private void softmaxBackward(Softmax.BackwardArgs a, Tensor out) {
        backwardAlong(a, out, "softmax_backward");
    }

    private void logSoftmaxBackward(Softmax.BackwardArgs a, Tensor out) {
        backwardAlong(a, out, "log_softmax_backward");
    }

    private void along(Softmax.Along a, Tensor out, String entry) {
        Around r = Around.of(a.x(), a.dim());
        RowForm form = r.form(out.dtype(), a.x(), out);
        call(SOFTMAX, entry, out, form.types())
                .pointer(a.x())
                .pointer(out)
                .word(form.count(r.rows()))
                .word(r.size)
                .word(r.inner)
                .half(form.lanes())
                .half(form.width())
                .run(form.grid(r.rows()));
    }

    private void backwardAlong(Softmax.BackwardArgs a, Tensor out, String entry) {
        Around r = Around.of(a.y(), a.dim());
        RowForm form = r.form(out.dtype(), a.grad(), a.y(), out);
        call(SOFTMAX, entry, out, form.types())
                .pointer(a.grad())
                .pointer(a.y())
                .pointer(out)
                .word(form.count(r.rows()))
                .word(r.size)
                .word(r.inner)
                .half(form.lanes())
                .half(form.width())
                .run(form.grid(r.rows()));
    }

    private void logSumExp(Softmax.Along a, Tensor out) {
        Around r = Around.of(a.x(), a.dim());
        RowForm form = r.form(out.dtype(), a.x());
        call(SOFTMAX, "logsumexp", out, form.types())
                .pointer(a.x())
                .pointer(out)
                .word(form.count(r.rows()))
                .word(r.size)
                .word(r.inner)
                .half(form.lanes())
                .half(form.width())
                .run(form.grid(r.rows()));
    }

    // ---------------------------------------------------------------- normalisation

    private void layerNorm(Normalization.LayerNorm a, Normalization.LayerNormResult out) {
        norm(a.x(), a.weight(), a.bias(), out.y(), out.mean(), out.rstd(), a.dims(), a.eps());
    }

    private void rmsNorm(Normalization.RmsNorm a, Normalization.RmsNormResult out) {
        norm(a.x(), a.weight(), null, out.y(), null, out.rstd(), a.dims(), a.eps());
    }

    private void layerNormBackward(Normalization.LayerNormBackward a, List<Tensor> out) {
        normBackward(
                a.grad(),
                a.x(),
                a.weight(),
                a.mean(),
                a.rstd(),
                a.dims(),
                a.wantX(),
                a.wantWeight(),
                a.wantBias(),
                out);
    }

    private void rmsNormBackward(Normalization.RmsNormBackward a, List<Tensor> out) {
        normBackward(a.grad(), a.x(), a.weight(), null, a.rstd(), a.dims(), a.wantX(), a.wantWeight(), false, out);
    }

    private void norm(
            Tensor x,
            @Nullable Tensor weight,
            @Nullable Tensor bias,
            Tensor y,
            @Nullable Tensor mean,
            Tensor rstd,
            int dims,
            double eps) {
        long rows = rstd.numel();
        if (rows == 0) {
            return;
        }
        if (x.numel() == 0) {
            // Rows without elements.
            if (mean != null) {
                mean.zero_();
            }
            rstd.fill_(1 / Math.sqrt(eps));
            return;
        }
        long size = Normalization.rowLength(x, dims);
        RowForm form = RowForm.rows(x.dtype(), rows, size, x, weight, bias, y);
        call(NORMS, "normalize", x, form.types())
                .pointer(x)
                .pointer(weight)
                .pointer(bias)
                .pointer(y)
                .pointer(mean)
                .pointer(rstd)
                .word(rows)
                .word(size)
                .half(form.lanes())
                .real(eps)
                .run(form.grid(rows));
    }

    private void normBackward(
            Tensor g,
            Tensor x,
            @Nullable Tensor weight,
            @Nullable Tensor mean,
            Tensor rstd,
            int dims,
            boolean wantX,
            boolean wantWeight,
            boolean wantBias,
            List<Tensor> out) {
        if (x.numel() == 0) {
            out.forEach(Tensor::zero_);
            return;
        }
        long rows = rstd.numel();
        long size = Normalization.rowLength(x, dims);
        int next = 0;
        if (wantX) {
            Tensor dx = out.get(next++);
            RowForm form = RowForm.rows(x.dtype(), rows, size, g, x, weight, dx);
            call(NORMS, "normalize_backward", x, form.types())
                    .pointer(g)
                    .pointer(x)
                    .pointer(weight)
                    .pointer(mean)
                    .pointer(rstd)
                    .pointer(dx)
                    .word(rows)
                    .word(size)
                    .half(form.lanes())
                    .run(form.grid(rows));
        }
        if (!wantWeight && !wantBias) {
            return;
        }
        long chunk = Math.max(CHUNK, (rows + CHUNKS - 1) / CHUNKS);
        long chunks = (rows + chunk - 1) / chunk;
        try (Tensor parts = TENSORS.allocate(Shape.of(2, chunks, size), rstd.dtype(), x.device())) {
            Tensor weights = parts.select(0, 0);
            Tensor biases = parts.select(0, 1);
            int pack = RowForm.pack(x.dtype(), size, g, x);
            call(NORMS, "normalize_backward_parameters", x, new RowForm.Types(x.dtype(), pack, 0))
                    .pointer(g)
                    .pointer(x)
                    .pointer(mean)
                    .pointer(rstd)
                    .pointer(wantWeight ? weights : null)
                    .pointer(wantBias ? biases : null)
                    .word(rows)
                    .word(size)
                    .word(chunk)
                    .run(new CudaRuntime.Grid((size / pack + 31) / 32, chunks, 1, 256, 1, 1, 0));
            if (wantWeight) {
                sumChunks(x, weights, out.get(next++), chunks, size);
            }
            if (wantBias) {
                sumChunks(x, biases, out.get(next), chunks, size);
            }
        }
    }

    private void sumChunks(Tensor x, Tensor parts, Tensor out, long chunks, long size) {
        call(NORMS, "sum_chunks", x)
                .pointer(parts)
                .pointer(out)
                .word(chunks)
                .word(size)
                .run(CudaRuntime.Grid.of((size + 31) / 32, 256));
    }

    // ---------------------------------------------------------------- losses

    private void crossEntropy(Losses.CrossEntropy a, Losses.CrossEntropyResult out) {
        Tensor x = a.logits();
        long rows = x.size(0);
        long classes = x.size(1);
        check(a.targets(), classes, a.ignoreIndex());
        try (Tensor losses = TENSORS.allocate(a.targets().shape(), out.lse().dtype(), x.device());
                Tensor weights = TENSORS.allocate(a.targets().shape(), out.lse().dtype(), x.device())) {
            if (rows > 0) {
                RowForm form = RowForm.rows(x.dtype(), rows, classes, x);
                call(LOSSES, "cross_entropy_rows", x, form.types())
                        .pointer(x)
                        .pointer(a.targets())
                        .pointer(a.weight())
                        .pointer(out.lse())
                        .pointer(losses)
                        .pointer(weights)
                        .word(rows)
                        .word(classes)
                        .word(a.ignoreIndex())
                        .half(form.lanes())
                        .real(a.labelSmoothing())
                        .fault(name())
                        .run(form.grid(rows));
            }
            reduced(losses, weights, out.loss(), out.totalWeight(), rows, a.reduction());
        }
    }

    private void nll(Losses.Nll a, Tensor out) {
        Tensor x = a.logProbabilities();
        long rows = x.size(0);
        long classes = x.size(1);
        check(a.targets(), classes, a.ignoreIndex());
        DType compute = x.dtype().computeType();
        try (Tensor losses = TENSORS.allocate(a.targets().shape(), compute, x.device());
                Tensor weights = TENSORS.allocate(a.targets().shape(), compute, x.device())) {
            nllRows(x, a.targets(), a.weight(), losses, weights, a.ignoreIndex());
            reduced(losses, weights, out, null, rows, a.reduction());
        }
    }

    private void nllRows(
            Tensor x, Tensor targets, @Nullable Tensor weight, Tensor losses, Tensor weights, long ignore) {
        if (x.size(0) > 0) {
            call(LOSSES, "nll_rows", x)
                    .pointer(x)
                    .pointer(targets)
                    .pointer(weight)
                    .pointer(losses)
                    .pointer(weights)
                    .word(x.size(0))
                    .word(x.size(1))
                    .word(ignore)
                    .fault(name())
                    .each(x.size(0));
        }
    }

    /** All rows are looked at first: what goes over chunks of them would name a row of a chunk. */
    private void linearCrossEntropy(LinearCrossEntropy.Args a, LinearCrossEntropy.Result out) {
        long classes = a.weight().size(0);
        check(a.targets(), classes, a.ignoreIndex());
        if (kernels.isLate() && a.targets().numel() > 0) {
            call(LOSSES, "check_targets", out.lse())
                    .pointer(a.targets())
                    .word(a.targets().numel())
                    .word(classes)
                    .word(a.ignoreIndex())
                    .fault(name())
                    .each(a.targets().numel());
        }
        LinearCrossEntropy.PROGRAM.run(a, out);
    }

    private void reduced(
            Tensor losses, Tensor weights, Tensor out, @Nullable Tensor total, long rows, Losses.Reduction reduction) {
        call(LOSSES, "losses_reduced", out)
                .pointer(losses)
                .pointer(weights)
                .pointer(out)
                .pointer(total)
                .word(rows)
                .half(reduction == Losses.Reduction.NONE ? 1 : 0)
                .half(reduction == Losses.Reduction.MEAN ? 1 : 0)
                .run(CudaRuntime.Grid.of(1, 1024));
    }

    private void crossEntropyBackward(Losses.CrossEntropyBackward a, Tensor out) {
        Tensor x = a.logits();
        RowForm form = RowForm.rows(x.dtype(), x.size(0), x.size(1), x, out);
        call(LOSSES, "cross_entropy_backward", x, form.types())
                .pointer(a.grad())
                .pointer(x)
                .pointer(a.targets())
                .pointer(a.weight())
                .pointer(a.lse())
                .pointer(a.totalWeight())
                .pointer(out)
                .word(x.size(0))
                .word(x.size(1))
                .word(a.ignoreIndex())
                .half(form.lanes())
                .real(a.labelSmoothing())
                .half(a.reduction() == Losses.Reduction.NONE ? 1 : 0)
                .half(a.reduction() == Losses.Reduction.MEAN ? 1 : 0)
                .run(form.grid(x.size(0)));
    }

    private void nllBackward(Losses.NllBackward a, Tensor out) {
        Tensor x = a.logProbabilities();
        DType compute = x.dtype().computeType();
        try (Tensor total = TENSORS.allocate(Shape.SCALAR, DType.FLOAT64, x.device())) {
            if (a.reduction() == Losses.Reduction.MEAN) {
                try (Tensor losses = TENSORS.allocate(a.targets().shape(), compute, x.device());
                        Tensor weights = TENSORS.allocate(a.targets().shape(), compute, x.device());
                        Tensor ignored = TENSORS.allocate(Shape.SCALAR, x.dtype(), x.device())) {
                    nllRows(x, a.targets(), a.weight(), losses, weights, a.ignoreIndex());
                    reduced(losses, weights, ignored, total, x.size(0), Losses.Reduction.SUM);
                }
            }
            call(LOSSES, "nll_backward", x)
                    .pointer(a.grad())
                    .pointer(a.targets())
                    .pointer(a.weight())
                    .pointer(total)
                    .pointer(out)
                    .word(x.size(0))
                    .word(x.size(1))
                    .word(a.ignoreIndex())
                    .half(a.reduction() == Losses.Reduction.NONE ? 1 : 0)
                    .half(a.reduction() == Losses.Reduction.MEAN ? 1 : 0)
                    .each(x.numel());
        }
    }

    private String name() {
        return op.startsWith("merapi::nll_loss")
                ? "nllLoss"
                : op.equals("merapi::linear_cross_entropy") ? "linearCrossEntropy" : "crossEntropy";
    }

    private void check(Tensor targets, long classes, long ignore) {
        long row = IndexKernels.firstOutside(kernels, op, targets, 0, classes, ignore, true);
        if (row >= 0) {
            long target = IndexKernels.indexAt(targets, row);
            throw LossReference.targetOutOfRange(name(), target, row, ignore, classes);
        }
    }
}
