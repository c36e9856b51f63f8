// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.op.Kernel;
import dev.merapi.ops.RandomOps;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/** Random numbers, bit for bit those of every other device. */
final class RandomKernels {
    static final Family FLOATING = new Family("random.cuh", "uniform", "gaussian", "dropout", "bernoulli");
    static final Family INTEGRAL = new Family("random.cuh", "integers", "bernoulli");

    private final Kernels kernels;
    private final String op;

    private RandomKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static @Nullable Object kernel(String op, Kernels kernels) {
        RandomKernels k = new RandomKernels(op, kernels);
        return switch (op) {
            case "merapi::uniform_" ->
                (Kernel<RandomOps.Uniform, Tensor>) (a, out) -> k.call(out, "uniform")
                        .pointer(out)
                        .word(out.numel())
                        .real(a.low())
                        .real(a.high() - a.low())
                        .word(a.seed())
                        .word(a.offset())
                        .pointer(a.base())
                        .each(out.numel());
            case "merapi::normal_" ->
                (Kernel<RandomOps.Normal, Tensor>) (a, out) -> k.call(out, "gaussian")
                        .pointer(out)
                        .word(out.numel())
                        .real(a.mean())
                        .real(a.deviation())
                        .word(a.seed())
                        .word(a.offset())
                        .pointer(a.base())
                        .each(out.numel());
            case "merapi::integers_" ->
                (Kernel<RandomOps.Integers, Tensor>) (a, out) -> k.call(out, "integers")
                        .pointer(out)
                        .word(out.numel())
                        .word(a.low())
                        .word(a.range())
                        .flag(RandomOps.isWide(a.range()))
                        .word(a.seed())
                        .word(a.offset())
                        .pointer(a.base())
                        .each(out.numel());
            case "merapi::bernoulli_" ->
                (Kernel<RandomOps.Bernoulli, Tensor>) (a, out) -> k.call(out, "bernoulli")
                        .pointer(out)
                        .word(out.numel())
                        .word(RandomOps.threshold(1 - a.p()))
                        .word(a.seed())
                        .word(a.offset())
                        .pointer(a.base())
                        .each(out.numel());
            case "merapi::dropout" -> (Kernel<RandomOps.Dropout, RandomOps.Dropped>) k::dropout;
            default -> null;
        };
    }

    static String types(DType dtype) {
        return Family.type("T", dtype) + (dtype.isFloating() ? "#define FLOATING\n" : "");
    }

    private Family.Call call(Tensor at, String entry) {
        Family family = at.dtype().isFloating() ? FLOATING : INTEGRAL;
        return family.call(kernels, op, at, entry, at.dtype(), RandomKernels::types);
    }

    private void dropout(RandomOps.Dropout a, RandomOps.Dropped out) {
        Tensor y = out.output();
        if (y.numel() == 0) {
            return;
        }
        call(y, "dropout")
                .pointer(a.x())
                .pointer(y)
                .pointer(out.mask())
                .word(y.numel())
                .word(RandomOps.threshold(a.p()))
                .real(RandomOps.scale(a.p()))
                .word(a.seed())
                .word(a.offset())
                .pointer(a.base())
                .each(y.numel());
    }
}
