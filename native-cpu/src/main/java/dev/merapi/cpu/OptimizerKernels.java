// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Optimiser steps: one native call for all parameters. */
final class OptimizerKernels {
    private static final int WORDS = 7;

    private OptimizerKernels() {}

    static void register(KernelTable table) {
        table.put("adam_", Optimizers.Adam.class, Void.class, FLOATING, (Optimizers.Adam a, Void none) -> adam(a));
        table.put("sgd_", Optimizers.Sgd.class, Void.class, FLOATING, (Optimizers.Sgd a, Void none) -> sgd(a));
        table.put(
                "grad_norm",
                Optimizers.GradNorm.class,
                Optimizers.NormAndScale.class,
                FLOATING,
                OptimizerKernels::gradNorm);
        table.put(
                "non_finite",
                Optimizers.NonFinite.class,
                FLOATING.and(dtype -> dtype != DType.FLOAT64),
                OptimizerKernels::nonFinite);
        table.put(
                "scale_grads_",
                Optimizers.ScaleGrads.class,
                Void.class,
                FLOATING,
                (Optimizers.ScaleGrads a, Void none) -> scaleGrads(a));
    }

    private static long address(@Nullable Tensor t) {
        return t == null ? 0 : t.address();
    }

    /** Addresses of parameter, gradient, two states, master and count of steps, and how many elements, for each parameter. */
    private static Scratch list(
            @Nullable List<Tensor> params,
            List<Tensor> grads,
            @Nullable List<Tensor> m,
            @Nullable List<Tensor> v,
            List<Tensor> master,
            @Nullable List<Tensor> steps) {
        int n = grads.size();
        Scratch s = Scratch.begin().reserve(WORDS * n);
        for (int i = 0; i < n; i++) {
            s.put(params == null ? 0 : params.get(i).address());
            s.put(grads.get(i).address());
            s.put(m == null ? 0 : m.get(i).address());
            s.put(v == null ? 0 : v.get(i).address());
            s.put(master.isEmpty() ? 0 : master.get(i).address());
            s.put(steps == null ? 0 : steps.get(i).address());
            s.put(grads.get(i).numel());
        }
        return s;
    }

    static void adam(Optimizers.Adam a) {
        Scratch s = list(a.params(), a.grads(), a.m(), a.v(), a.master(), a.steps());
        Native.adam(
                DTypes.code(a.params().get(0).dtype()),
                s.address(),
                a.params().size(),
                a.beta1(),
                a.beta2(),
                a.eps(),
                a.weightDecay(),
                a.decoupled() ? 1 : 0,
                a.lr().address(),
                address(a.gradScale()),
                address(a.skip()));
    }

    static void sgd(Optimizers.Sgd a) {
        Scratch s = list(a.params(), a.grads(), a.momentum() == 0 ? null : a.buffers(), null, a.master(), a.steps());
        Native.sgd(
                DTypes.code(a.params().get(0).dtype()),
                s.address(),
                a.params().size(),
                a.momentum(),
                a.dampening(),
                a.nesterov() ? 1 : 0,
                a.weightDecay(),
                a.lr().address(),
                address(a.gradScale()),
                address(a.skip()));
    }

    static void gradNorm(Optimizers.GradNorm a, Optimizers.NormAndScale out) {
        Scratch s = list(null, a.grads(), null, null, List.of(), null);
        Native.grad_norm(
                DTypes.code(a.grads().get(0).dtype()),
                s.address(),
                a.grads().size(),
                a.maxNorm(),
                address(a.before()),
                out.norm().address(),
                out.scale().address(),
                0);
    }

    /** The flag of the norm, whose squares cannot overflow. */
    static void nonFinite(Optimizers.NonFinite a, Tensor out) {
        Scratch s = list(null, a.grads(), null, null, List.of(), null);
        Native.grad_norm(
                DTypes.code(a.grads().get(0).dtype()), s.address(), a.grads().size(), 1, 0, 0, 0, out.address());
    }

    static void scaleGrads(Optimizers.ScaleGrads a) {
        Scratch s = list(null, a.grads(), null, null, List.of(), null);
        Native.scale_grads(
                DTypes.code(a.grads().get(0).dtype()),
                s.address(),
                a.grads().size(),
                a.scale().address());
    }
}
