// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.op.Kernel;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Optimiser steps, a launch for each parameter. */
final class OptimizerKernels {
    static final Family FAMILY = new Family(
            "optimizers.cuh",
            "adam",
            "sgd",
            "squares",
            "norm_of_parts",
            "scaled",
            "cleared",
            "non_finite",
            "update_scale");
    /** Elements whose squares one block adds up. */
    private static final long CHUNK = 16384;

    private final Kernels kernels;
    private final String op;

    private OptimizerKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static @Nullable Object kernel(String op, Kernels kernels) {
        OptimizerKernels k = new OptimizerKernels(op, kernels);
        return switch (op) {
            case "merapi::adam_" -> (Kernel<Optimizers.Adam, Void>) (a, none) -> k.adam(a);
            case "merapi::sgd_" -> (Kernel<Optimizers.Sgd, Void>) (a, none) -> k.sgd(a);
            case "merapi::grad_norm" -> (Kernel<Optimizers.GradNorm, Optimizers.NormAndScale>) k::gradNorm;
            case "merapi::non_finite" -> (Kernel<Optimizers.NonFinite, Tensor>) k::nonFinite;
            case "merapi::update_scale_" -> (Kernel<Optimizers.UpdateScale, Void>) (a, none) -> k.updateScale(a);
            case "merapi::scale_grads_" -> (Kernel<Optimizers.ScaleGrads, Void>) (a, none) -> k.scale(a);
            default -> null;
        };
    }

    private Family.Call call(Tensor at, String entry) {
        return FAMILY.call(kernels, op, at, entry, at.dtype());
    }

    private void adam(Optimizers.Adam a) {
        for (int i = 0; i < a.params().size(); i++) {
            Tensor p = a.params().get(i);
            if (p.numel() == 0) {
                continue;
            }
            call(p, "adam")
                    .pointer(p)
                    .pointer(a.grads().get(i))
                    .pointer(a.m().get(i))
                    .pointer(a.v().get(i))
                    .pointer(a.master().isEmpty() ? null : a.master().get(i))
                    .word(p.numel())
                    .pointer(a.lr())
                    .pointer(a.step())
                    .pointer(a.gradScale())
                    .pointer(a.skip())
                    .real(a.beta1())
                    .real(a.beta2())
                    .real(a.eps())
                    .real(a.weightDecay())
                    .flag(a.decoupled())
                    .each(p.numel());
        }
    }

    private void sgd(Optimizers.Sgd a) {
        for (int i = 0; i < a.params().size(); i++) {
            Tensor p = a.params().get(i);
            if (p.numel() == 0) {
                continue;
            }
            call(p, "sgd")
                    .pointer(p)
                    .pointer(a.grads().get(i))
                    .pointer(a.momentum() == 0 ? null : a.buffers().get(i))
                    .pointer(a.master().isEmpty() ? null : a.master().get(i))
                    .word(p.numel())
                    .pointer(a.lr())
                    .pointer(a.step())
                    .pointer(a.gradScale())
                    .pointer(a.skip())
                    .real(a.momentum())
                    .real(a.dampening())
                    .flag(a.nesterov())
                    .real(a.weightDecay())
                    .each(p.numel());
        }
    }

    private void gradNorm(Optimizers.GradNorm a, Optimizers.NormAndScale out) {
        List<Tensor> grads = a.grads();
        long blocks = 0;
        for (Tensor g : grads) {
            blocks += (g.numel() + CHUNK - 1) / CHUNK;
        }
        Tensor first = grads.get(0);
        try (Tensor parts = Tensor.allocate(Shape.of(Math.max(1, blocks)), DType.FLOAT64, first.device())) {
            long at = 0;
            for (Tensor g : grads) {
                long n = (g.numel() + CHUNK - 1) / CHUNK;
                if (n > 0) {
                    call(g, "squares")
                            .pointer(g)
                            .pointer(parts, at)
                            .word(g.numel())
                            .word(CHUNK)
                            .run(CudaRuntime.Grid.of(n, 256));
                }
                at += n;
            }
            call(first, "norm_of_parts")
                    .pointer(parts)
                    .word(blocks)
                    .real(a.maxNorm())
                    .pointer(out.norm())
                    .pointer(out.scale())
                    .run(CudaRuntime.Grid.of(1, 256));
        }
    }

    private void nonFinite(Optimizers.NonFinite a, Tensor out) {
        Tensor first = a.grads().get(0);
        call(first, "cleared").pointer(out).run(CudaRuntime.Grid.of(1, 1));
        for (Tensor g : a.grads()) {
            if (g.numel() > 0) {
                call(g, "non_finite").pointer(g).word(g.numel()).pointer(out).each(g.numel());
            }
        }
    }

    private void updateScale(Optimizers.UpdateScale a) {
        call(a.scale(), "update_scale")
                .pointer(a.scale())
                .pointer(a.streak())
                .pointer(a.nonFinite())
                .real(a.growth())
                .real(a.backoff())
                .real(a.interval())
                .run(CudaRuntime.Grid.of(1, 1));
    }

    private void scale(Optimizers.ScaleGrads a) {
        for (Tensor g : a.grads()) {
            if (g.numel() > 0) {
                call(g, "scaled").pointer(g).word(g.numel()).pointer(a.scale()).each(g.numel());
            }
        }
    }
}
