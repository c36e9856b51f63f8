// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.reference.LossReference;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Normalisations and cross entropy: ops that reduce rows and write them again. */
final class NormKernels {
    private NormKernels() {}

    static void register(KernelTable table) {
        table.put(
                "layer_norm",
                Normalization.LayerNorm.class,
                Normalization.LayerNormResult.class,
                FLOATING,
                NormKernels::layerNorm);
        table.put(
                "layer_norm_backward",
                Normalization.LayerNormBackward.class,
                KernelTable.TENSORS,
                FLOATING,
                NormKernels::layerNormBackward);
        table.put(
                "rms_norm",
                Normalization.RmsNorm.class,
                Normalization.RmsNormResult.class,
                FLOATING,
                NormKernels::rmsNorm);
        table.put(
                "rms_norm_backward",
                Normalization.RmsNormBackward.class,
                KernelTable.TENSORS,
                FLOATING,
                NormKernels::rmsNormBackward);
        table.put(
                "cross_entropy",
                Losses.CrossEntropy.class,
                Losses.CrossEntropyResult.class,
                FLOATING,
                NormKernels::crossEntropy);
        table.put(
                "cross_entropy_backward",
                Losses.CrossEntropyBackward.class,
                FLOATING,
                NormKernels::crossEntropyBackward);
        table.put(
                "cross_entropy_backward_",
                Losses.CrossEntropyBackward.class,
                FLOATING,
                NormKernels::crossEntropyBackward);
        table.put("nll_loss", Losses.Nll.class, FLOATING, NormKernels::nllLoss);
        table.put("nll_loss_backward", Losses.NllBackward.class, FLOATING, NormKernels::nllLossBackward);
    }

    private static long address(@Nullable Tensor t) {
        return t == null ? 0 : t.address();
    }

    static void layerNorm(Normalization.LayerNorm a, Normalization.LayerNormResult out) {
        long n = Normalization.rowLength(a.x(), a.dims());
        Native.layer_norm(
                DTypes.code(a.x().dtype()),
                a.x().address(),
                address(a.weight()),
                address(a.bias()),
                n == 0 ? 0 : a.x().numel() / n,
                n,
                a.eps(),
                out.y().address(),
                out.mean().address(),
                out.rstd().address());
    }

    static void layerNormBackward(Normalization.LayerNormBackward a, List<Tensor> out) {
        long n = Normalization.rowLength(a.x(), a.dims());
        int k = 0;
        long dx = a.wantX() ? out.get(k++).address() : 0;
        long dweight = a.wantWeight() ? out.get(k++).address() : 0;
        long dbias = a.wantBias() ? out.get(k).address() : 0;
        Native.layer_norm_backward(
                DTypes.code(a.x().dtype()),
                a.grad().address(),
                a.x().address(),
                a.mean().address(),
                a.rstd().address(),
                address(a.weight()),
                n == 0 ? 0 : a.x().numel() / n,
                n,
                dx,
                dweight,
                dbias);
    }

    static void rmsNorm(Normalization.RmsNorm a, Normalization.RmsNormResult out) {
        long n = Normalization.rowLength(a.x(), a.dims());
        Native.rms_norm(
                DTypes.code(a.x().dtype()),
                a.x().address(),
                address(a.weight()),
                n == 0 ? 0 : a.x().numel() / n,
                n,
                a.eps(),
                out.y().address(),
                out.rstd().address());
    }

    static void rmsNormBackward(Normalization.RmsNormBackward a, List<Tensor> out) {
        long n = Normalization.rowLength(a.x(), a.dims());
        int k = 0;
        long dx = a.wantX() ? out.get(k++).address() : 0;
        long dweight = a.wantWeight() ? out.get(k).address() : 0;
        Native.rms_norm_backward(
                DTypes.code(a.x().dtype()),
                a.grad().address(),
                a.x().address(),
                a.rstd().address(),
                address(a.weight()),
                n == 0 ? 0 : a.x().numel() / n,
                n,
                dx,
                dweight);
    }

    private static void requireClass(String op, long row, Tensor targets, long ignoreIndex, long classes) {
        if (row >= 0) {
            throw LossReference.targetOutOfRange(op, Elements.of(targets).getLong(row), row, ignoreIndex, classes)
                    .beforeWriting();
        }
    }

    static void crossEntropy(Losses.CrossEntropy a, Losses.CrossEntropyResult out) {
        long rows = a.logits().size(0);
        long classes = a.logits().size(1);
        long bad = Native.cross_entropy(
                DTypes.code(a.logits().dtype()),
                a.logits().address(),
                a.targets().address(),
                address(a.weight()),
                rows,
                classes,
                a.ignoreIndex(),
                a.labelSmoothing(),
                DTypes.code(a.reduction()),
                out.loss().address(),
                out.lse().address(),
                out.totalWeight().address());
        requireClass("crossEntropy", bad, a.targets(), a.ignoreIndex(), classes);
    }

    static void crossEntropyBackward(Losses.CrossEntropyBackward a, Tensor out) {
        long bad = Native.cross_entropy_backward(
                DTypes.code(a.logits().dtype()),
                a.logits().address(),
                a.targets().address(),
                address(a.weight()),
                a.logits().size(0),
                a.logits().size(1),
                a.ignoreIndex(),
                a.labelSmoothing(),
                DTypes.code(a.reduction()),
                a.lse().address(),
                a.totalWeight().address(),
                a.grad().address(),
                out.address());
        requireClass(
                "cross_entropy_backward",
                bad,
                a.targets(),
                a.ignoreIndex(),
                a.logits().size(1));
    }

    static void nllLoss(Losses.Nll a, Tensor out) {
        long classes = a.logProbabilities().size(1);
        long bad = Native.nll_loss(
                DTypes.code(out.dtype()),
                a.logProbabilities().address(),
                a.targets().address(),
                address(a.weight()),
                a.targets().numel(),
                classes,
                a.ignoreIndex(),
                DTypes.code(a.reduction()),
                out.address());
        requireClass("nllLoss", bad, a.targets(), a.ignoreIndex(), classes);
    }

    static void nllLossBackward(Losses.NllBackward a, Tensor out) {
        long bad = Native.nll_loss_backward(
                DTypes.code(out.dtype()),
                a.targets().address(),
                address(a.weight()),
                a.targets().numel(),
                out.size(1),
                a.ignoreIndex(),
                DTypes.code(a.reduction()),
                a.grad().address(),
                out.address());
        requireClass("nll_loss_backward", bad, a.targets(), a.ignoreIndex(), out.size(1));
    }
}
