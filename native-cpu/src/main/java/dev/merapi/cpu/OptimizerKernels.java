// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Optimiser steps: one native call for all parameters. */
final class OptimizerKernels {
    private static final int FLOAT32 = 0;
    private static final int WORDS = 6;

    private OptimizerKernels() {}

    private static long address(@Nullable Tensor t) {
        return t == null ? 0 : t.address();
    }

    /** Addresses of parameter, gradient, two states and master, and the count of elements, for each parameter. */
    private static Scratch list(
            @Nullable List<Tensor> params,
            List<Tensor> grads,
            @Nullable List<Tensor> m,
            @Nullable List<Tensor> v,
            List<Tensor> master) {
        int n = grads.size();
        Scratch s = Scratch.begin().reserve(WORDS * n);
        for (int i = 0; i < n; i++) {
            s.put(params == null ? 0 : params.get(i).address());
            s.put(grads.get(i).address());
            s.put(m == null ? 0 : m.get(i).address());
            s.put(v == null ? 0 : v.get(i).address());
            s.put(master.isEmpty() ? 0 : master.get(i).address());
            s.put(grads.get(i).numel());
        }
        return s;
    }

    static void adam(Optimizers.Adam a) {
        Scratch s = list(a.params(), a.grads(), a.m(), a.v(), a.master());
        Native.adam(
                DTypes.code(a.params().get(0).dtype()),
                s.address(),
                a.params().size(),
                a.beta1(),
                a.beta2(),
                a.eps(),
                a.weightDecay(),
                a.decoupled() ? 1 : 0,
                FLOAT32,
                a.lr().address(),
                a.step().address(),
                address(a.gradScale()),
                address(a.skip()));
    }

    static void sgd(Optimizers.Sgd a) {
        Scratch s = list(a.params(), a.grads(), a.momentum() == 0 ? null : a.buffers(), null, a.master());
        Native.sgd(
                DTypes.code(a.params().get(0).dtype()),
                s.address(),
                a.params().size(),
                a.momentum(),
                a.dampening(),
                a.nesterov() ? 1 : 0,
                a.weightDecay(),
                FLOAT32,
                a.lr().address(),
                a.step().address(),
                address(a.gradScale()),
                address(a.skip()));
    }

    static void gradNorm(Optimizers.GradNorm a, Optimizers.NormAndScale out) {
        Scratch s = list(null, a.grads(), null, null, List.of());
        Native.grad_norm(
                DTypes.code(a.grads().get(0).dtype()),
                s.address(),
                a.grads().size(),
                a.maxNorm(),
                FLOAT32,
                out.norm().address(),
                out.scale().address(),
                0);
    }

    /** The flag of the norm: squares are summed in float64, where those of smaller floats cannot overflow. */
    static void nonFinite(Optimizers.NonFinite a, Tensor out) {
        Scratch s = list(null, a.grads(), null, null, List.of());
        Native.grad_norm(
                DTypes.code(a.grads().get(0).dtype()), s.address(), a.grads().size(), 1, FLOAT32, 0, 0, out.address());
    }

    static void scaleGrads(Optimizers.ScaleGrads a) {
        Scratch s = list(null, a.grads(), null, null, List.of());
        Native.scale_grads(
                DTypes.code(a.grads().get(0).dtype()),
                s.address(),
                a.grads().size(),
                FLOAT32,
                a.scale().address());
    }
}
