// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.FLOATING;
import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.launch.TensorLists;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Optimiser steps: a launch goes over as many parameters as its arguments can name. */
public final class OptimizerKernels {
    public static final Family FAMILY = new Family(
            "optimizers.cuh",
            "adam",
            "sgd",
            "counted",
            "squares",
            "norm_of_parts",
            "scaled",
            "cleared",
            "non_finite",
            "update_scale");
    private static final int THREADS = 256;
    /** Elements that a block takes at a time. */
    private static final long CHUNK = 4096;
    /** Elements whose squares are added up to one number; the order of the sum, so the same for every device. */
    private static final long PART = 16384;

    private final Kernels kernels;
    private final String op;

    private OptimizerKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, OptimizerKernels> of = op -> new OptimizerKernels(op, kernels);
        table.make(
                "adam_",
                Optimizers.Adam.class,
                Void.class,
                FLOATING,
                of,
                (OptimizerKernels k, Optimizers.Adam a, Void none) -> k.adam(a));
        table.make(
                "sgd_",
                Optimizers.Sgd.class,
                Void.class,
                FLOATING,
                of,
                (OptimizerKernels k, Optimizers.Sgd a, Void none) -> k.sgd(a));
        table.make(
                "grad_norm",
                Optimizers.GradNorm.class,
                Optimizers.NormAndScale.class,
                FLOATING,
                of,
                OptimizerKernels::gradNorm);
        table.make("non_finite", Optimizers.NonFinite.class, FLOATING, of, OptimizerKernels::nonFinite);
        table.make(
                "update_scale_",
                Optimizers.UpdateScale.class,
                Void.class,
                FLOATING,
                of,
                (OptimizerKernels k, Optimizers.UpdateScale a, Void none) -> k.updateScale(a));
        table.make(
                "scale_grads_",
                Optimizers.ScaleGrads.class,
                Void.class,
                FLOATING,
                of,
                (OptimizerKernels k, Optimizers.ScaleGrads a, Void none) -> k.scale(a));
    }

    /** What the kernels are compiled for: the dtype, and how many tensors a launch can name. */
    public record Types(DType storage, int tensors) {
        public String text() {
            return Family.type("T", storage) + "constexpr int kTensors = " + tensors + ";\n";
        }
    }

    private Family.Call call(Tensor at, String entry) {
        return FAMILY.call(kernels, op, at, entry, new Types(at.dtype(), TensorLists.FEW), Types::text);
    }

    private Family.Call call(TensorLists lists, String entry) {
        Types types = new Types(lists.first().dtype(), lists.capacity());
        return FAMILY.call(kernels, op, lists.first(), entry, types, Types::text);
    }

    @SafeVarargs
    private List<TensorLists> groups(long chunk, List<Tensor>... roles) {
        int device = roles[0].get(0).device().index();
        return TensorLists.of(kernels.runtime().argumentBytes(device), chunk, roles);
    }

    /** A launch for each group of tensors, with as many blocks as chunks, or as the device can hold. */
    private void each(Family.Call call, TensorLists lists) {
        if (lists.chunks() == 0) {
            return; // empty tensors only
        }
        call.run(kernels.spread(lists.first().device().index(), lists.chunks() * THREADS, THREADS));
    }

    private void adam(Optimizers.Adam a) {
        for (TensorLists lists : groups(CHUNK, a.params(), a.grads(), a.m(), a.v(), a.master(), a.steps())) {
            each(
                    call(lists, "adam")
                            .lists(lists, 1, TensorLists.STEPS)
                            .pointer(a.lr())
                            .pointer(a.gradScale())
                            .pointer(a.skip())
                            .real(a.beta1())
                            .real(a.beta2())
                            .real(a.eps())
                            .real(a.weightDecay())
                            .flag(a.decoupled()),
                    lists);
            count(lists, a.skip());
        }
    }

    private void sgd(Optimizers.Sgd a) {
        List<Tensor> buffers = a.momentum() == 0 ? List.of() : a.buffers();
        for (TensorLists lists : groups(CHUNK, a.params(), a.grads(), buffers, List.of(), a.master(), a.steps())) {
            each(
                    call(lists, "sgd")
                            .lists(lists, 1, TensorLists.STEPS)
                            .pointer(a.lr())
                            .pointer(a.gradScale())
                            .pointer(a.skip())
                            .real(a.momentum())
                            .real(a.dampening())
                            .flag(a.nesterov())
                            .real(a.weightDecay()),
                    lists);
            count(lists, a.skip());
        }
    }

    private void count(TensorLists lists, @Nullable Tensor skip) {
        call(lists, "counted").lists(lists, 0, 1, 2, 3, 4).pointer(skip).run(CudaRuntime.Grid.of(1, THREADS));
    }

    private void gradNorm(Optimizers.GradNorm a, Optimizers.NormAndScale out) {
        List<TensorLists> groups = groups(PART, a.grads());
        long parts = groups.stream().mapToLong(TensorLists::chunks).sum();
        Tensor first = a.grads().get(0);
        int each = first.dtype() == DType.FLOAT64 ? 3 : 1; // sums of a chunk
        try (Tensor sums = TENSORS.allocate(Shape.of(Math.max(1, parts * each)), DType.FLOAT64, first.device())) {
            long at = 0;
            for (TensorLists lists : groups) {
                if (lists.chunks() > 0) {
                    each(call(lists, "squares").lists(lists, 0).pointer(sums, at * each), lists);
                }
                at += lists.chunks();
            }
            call(first, "norm_of_parts")
                    .pointer(sums)
                    .word(parts)
                    .real(a.maxNorm())
                    .pointer(a.before())
                    .pointer(out.norm())
                    .pointer(out.scale())
                    .run(CudaRuntime.Grid.of(1, THREADS));
        }
    }

    private void nonFinite(Optimizers.NonFinite a, Tensor out) {
        call(a.grads().get(0), "cleared").pointer(out).run(CudaRuntime.Grid.of(1, 1));
        for (TensorLists lists : groups(CHUNK, a.grads())) {
            each(call(lists, "non_finite").lists(lists, 0).pointer(out), lists);
        }
    }

    private void updateScale(Optimizers.UpdateScale a) {
        call(a.scale(), "update_scale")
                .pointer(a.scale())
                .pointer(a.streak())
                .pointer(a.nonFinite())
                .real(a.growth())
                .real(a.backoff())
                .word(a.interval())
                .run(CudaRuntime.Grid.of(1, 1));
    }

    private void scale(Optimizers.ScaleGrads a) {
        for (TensorLists lists : groups(CHUNK, a.grads())) {
            each(call(lists, "scaled").lists(lists).pointer(a.scale()), lists);
        }
    }
}
