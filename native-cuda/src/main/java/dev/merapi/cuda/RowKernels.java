// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.op.Kernel;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Softmax;
import dev.merapi.reference.LossReference;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Softmax, normalisation and losses of classes. */
final class RowKernels {
    static final Family FAMILY = new Family(
            "rows.cuh",
            "softmax",
            "softmax_backward",
            "logsumexp",
            "normalize",
            "normalize_backward",
            "normalize_backward_parameters",
            "sum_chunks",
            "cross_entropy_rows",
            "nll_rows",
            "losses_reduced",
            "cross_entropy_backward",
            "nll_backward");
    /** Rows that one block sums up for the gradients of parameters. */
    private static final long CHUNK = 256;

    private final Kernels kernels;
    private final String op;

    private RowKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static @Nullable Object kernel(String op, Kernels kernels) {
        RowKernels k = new RowKernels(op, kernels);
        return switch (op) {
            case "merapi::softmax" -> (Kernel<Softmax.Along, Tensor>) (a, out) -> k.softmax(a, out, false);
            case "merapi::log_softmax" -> (Kernel<Softmax.Along, Tensor>) (a, out) -> k.softmax(a, out, true);
            case "merapi::softmax_backward" ->
                (Kernel<Softmax.BackwardArgs, Tensor>) (a, out) -> k.softmaxBackward(a, out, false);
            case "merapi::log_softmax_backward" ->
                (Kernel<Softmax.BackwardArgs, Tensor>) (a, out) -> k.softmaxBackward(a, out, true);
            case "merapi::logsumexp" -> (Kernel<Softmax.Along, Tensor>) k::logSumExp;
            case "merapi::layer_norm" ->
                (Kernel<Normalization.LayerNorm, Normalization.LayerNormResult>) (a, out) ->
                        k.norm(a.x(), a.weight(), a.bias(), out.y(), out.mean(), out.rstd(), a.dims(), a.eps());
            case "merapi::rms_norm" ->
                (Kernel<Normalization.RmsNorm, Normalization.RmsNormResult>)
                        (a, out) -> k.norm(a.x(), a.weight(), null, out.y(), null, out.rstd(), a.dims(), a.eps());
            case "merapi::layer_norm_backward" ->
                (Kernel<Normalization.LayerNormBackward, List<Tensor>>) (a, out) -> k.normBackward(
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
            case "merapi::rms_norm_backward" ->
                (Kernel<Normalization.RmsNormBackward, List<Tensor>>) (a, out) -> k.normBackward(
                        a.grad(), a.x(), a.weight(), null, a.rstd(), a.dims(), a.wantX(), a.wantWeight(), false, out);
            case "merapi::cross_entropy" -> (Kernel<Losses.CrossEntropy, Losses.CrossEntropyResult>) k::crossEntropy;
            case "merapi::cross_entropy_backward" ->
                (Kernel<Losses.CrossEntropyBackward, Tensor>) k::crossEntropyBackward;
            case "merapi::nll_loss" -> (Kernel<Losses.Nll, Tensor>) k::nll;
            case "merapi::nll_loss_backward" -> (Kernel<Losses.NllBackward, Tensor>) k::nllBackward;
            default -> null;
        };
    }

    private Family.Call call(Tensor at, String entry, DType dtype) {
        return FAMILY.call(kernels, op, at, entry, dtype);
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
    }

    private void softmax(Softmax.Along a, Tensor out, boolean log) {
        Around r = Around.of(a.x(), a.dim());
        call(out, "softmax", out.dtype())
                .pointer(a.x())
                .pointer(out)
                .word(r.rows())
                .word(r.size)
                .word(r.inner)
                .flag(log)
                .rows(r.rows(), r.size);
    }

    private void softmaxBackward(Softmax.BackwardArgs a, Tensor out, boolean log) {
        Around r = Around.of(a.y(), a.dim());
        call(out, "softmax_backward", out.dtype())
                .pointer(a.grad())
                .pointer(a.y())
                .pointer(out)
                .word(r.rows())
                .word(r.size)
                .word(r.inner)
                .flag(log)
                .rows(r.rows(), r.size);
    }

    private void logSumExp(Softmax.Along a, Tensor out) {
        Around r = Around.of(a.x(), a.dim());
        call(out, "logsumexp", out.dtype())
                .pointer(a.x())
                .pointer(out)
                .word(r.rows())
                .word(r.size)
                .word(r.inner)
                .rows(r.rows(), r.size);
    }

    // ---------------------------------------------------------------- normalisation

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
        call(x, "normalize", x.dtype())
                .pointer(x)
                .pointer(weight)
                .pointer(bias)
                .pointer(y)
                .pointer(mean)
                .pointer(rstd)
                .word(rows)
                .word(size)
                .real(eps)
                .rows(rows, size);
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
            call(x, "normalize_backward", x.dtype())
                    .pointer(g)
                    .pointer(x)
                    .pointer(weight)
                    .pointer(mean)
                    .pointer(rstd)
                    .pointer(out.get(next++))
                    .word(rows)
                    .word(size)
                    .rows(rows, size);
        }
        if (!wantWeight && !wantBias) {
            return;
        }
        long chunk = Math.max(CHUNK, (rows + 65534) / 65535);
        long chunks = (rows + chunk - 1) / chunk;
        try (Tensor parts = Tensor.allocate(Shape.of(2, chunks, size), rstd.dtype(), x.device())) {
            Tensor weights = parts.select(0, 0);
            Tensor biases = parts.select(0, 1);
            call(x, "normalize_backward_parameters", x.dtype())
                    .pointer(g)
                    .pointer(x)
                    .pointer(mean)
                    .pointer(rstd)
                    .pointer(wantWeight ? weights : null)
                    .pointer(wantBias ? biases : null)
                    .word(rows)
                    .word(size)
                    .word(chunk)
                    .run(new CudaRuntime.Grid((size + 31) / 32, chunks, 1, 256, 1, 1, 0));
            if (wantWeight) {
                sumChunks(x, weights, out.get(next++), chunks, size);
            }
            if (wantBias) {
                sumChunks(x, biases, out.get(next), chunks, size);
            }
        }
    }

    private void sumChunks(Tensor x, Tensor parts, Tensor out, long chunks, long size) {
        call(x, "sum_chunks", x.dtype())
                .pointer(parts)
                .pointer(out)
                .word(chunks)
                .word(size)
                .run(CudaRuntime.Grid.of((size + 255) / 256, 256));
    }

    // ---------------------------------------------------------------- losses

    private void crossEntropy(Losses.CrossEntropy a, Losses.CrossEntropyResult out) {
        Tensor x = a.logits();
        long rows = x.size(0);
        long classes = x.size(1);
        check(a.targets(), classes, a.ignoreIndex());
        try (Tensor losses = Tensor.allocate(a.targets().shape(), out.lse().dtype(), x.device());
                Tensor weights = Tensor.allocate(a.targets().shape(), out.lse().dtype(), x.device())) {
            if (rows > 0) {
                call(x, "cross_entropy_rows", x.dtype())
                        .pointer(x)
                        .pointer(a.targets())
                        .pointer(a.weight())
                        .pointer(out.lse())
                        .pointer(losses)
                        .pointer(weights)
                        .word(rows)
                        .word(classes)
                        .word(a.ignoreIndex())
                        .real(a.labelSmoothing())
                        .fault(name())
                        .rows(rows, classes);
            }
            reduced(x, losses, weights, out.loss(), out.totalWeight(), rows, a.reduction());
        }
    }

    private void nll(Losses.Nll a, Tensor out) {
        Tensor x = a.logProbabilities();
        long rows = x.size(0);
        long classes = x.size(1);
        check(a.targets(), classes, a.ignoreIndex());
        DType compute = x.dtype().computeType();
        try (Tensor losses = Tensor.allocate(a.targets().shape(), compute, x.device());
                Tensor weights = Tensor.allocate(a.targets().shape(), compute, x.device())) {
            nllRows(x, a.targets(), a.weight(), losses, weights, a.ignoreIndex());
            reduced(x, losses, weights, out, null, rows, a.reduction());
        }
    }

    private void nllRows(
            Tensor x, Tensor targets, @Nullable Tensor weight, Tensor losses, Tensor weights, long ignore) {
        if (x.size(0) > 0) {
            call(x, "nll_rows", x.dtype())
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

    private void reduced(
            Tensor x,
            Tensor losses,
            Tensor weights,
            Tensor out,
            @Nullable Tensor total,
            long rows,
            Losses.Reduction reduction) {
        call(x, "losses_reduced", x.dtype())
                .pointer(losses)
                .pointer(weights)
                .pointer(out)
                .pointer(total)
                .word(rows)
                .half(reduction.ordinal())
                .run(CudaRuntime.Grid.of(1, 256));
    }

    private void crossEntropyBackward(Losses.CrossEntropyBackward a, Tensor out) {
        Tensor x = a.logits();
        call(x, "cross_entropy_backward", x.dtype())
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
                .real(a.labelSmoothing())
                .half(a.reduction().ordinal())
                .rows(x.size(0), x.size(1));
    }

    private void nllBackward(Losses.NllBackward a, Tensor out) {
        Tensor x = a.logProbabilities();
        DType compute = x.dtype().computeType();
        try (Tensor total = Tensor.allocate(Shape.SCALAR, DType.FLOAT64, x.device())) {
            if (a.reduction() == Losses.Reduction.MEAN) {
                try (Tensor losses = Tensor.allocate(a.targets().shape(), compute, x.device());
                        Tensor weights = Tensor.allocate(a.targets().shape(), compute, x.device());
                        Tensor ignored = Tensor.allocate(Shape.SCALAR, x.dtype(), x.device())) {
                    nllRows(x, a.targets(), a.weight(), losses, weights, a.ignoreIndex());
                    reduced(x, losses, weights, ignored, total, x.size(0), Losses.Reduction.SUM);
                }
            }
            call(x, "nll_backward", x.dtype())
                    .pointer(a.grad())
                    .pointer(a.targets())
                    .pointer(a.weight())
                    .pointer(total)
                    .pointer(out)
                    .word(x.size(0))
                    .word(x.size(1))
                    .word(a.ignoreIndex())
                    .half(a.reduction().ordinal())
                    .each(x.numel());
        }
    }

    private String name() {
        return op.startsWith("merapi::nll_loss") ? "nllLoss" : "crossEntropy";
    }

    private void check(Tensor targets, long classes, long ignore) {
        long row = IndexKernels.firstOutside(kernels, op, targets, 0, classes, ignore, true);
        if (row >= 0) {
            long target = IndexKernels.indexAt(targets, row);
            throw LossReference.targetOutOfRange(name(), target, row, ignore, classes);
        }
    }
}
