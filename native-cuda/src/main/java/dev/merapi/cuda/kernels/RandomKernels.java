// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.ops.RandomOps;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.function.Function;

/** Random numbers, bit for bit those of every other device. */
public final class RandomKernels {
    public static final Family FLOATING =
            Family.above("philox.cuh", "random.cuh", "uniform", "gaussian", "dropout", "bernoulli");
    public static final Family INTEGRAL = Family.above("philox.cuh", "random.cuh", "integers", "bernoulli");

    private final Kernels kernels;
    private final String op;

    private RandomKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, RandomKernels> of = op -> new RandomKernels(op, kernels);
        table.make("uniform_", RandomOps.Uniform.class, ALL, of, RandomKernels::uniform);
        table.make("normal_", RandomOps.Normal.class, ALL, of, RandomKernels::normal);
        table.make("integers_", RandomOps.Integers.class, ALL, of, RandomKernels::integers);
        table.make("bernoulli_", RandomOps.Bernoulli.class, ALL, of, RandomKernels::bernoulli);
        table.make("dropout", RandomOps.Dropout.class, RandomOps.Dropped.class, ALL, of, RandomKernels::dropout);
    }

    public static String types(DType dtype) {
        return Family.type("T", dtype) + (dtype.isFloating() ? "#define FLOATING\n" : "");
    }

    private void uniform(RandomOps.Uniform a, Tensor out) {
        call(out, "uniform")
                .pointer(out)
                .word(out.numel())
                .real(a.low())
                .real(a.high() - a.low())
                .word(a.seed())
                .word(a.offset())
                .pointer(a.base())
                .each(out.numel());
    }

    private void normal(RandomOps.Normal a, Tensor out) {
        call(out, "gaussian")
                .pointer(out)
                .word(out.numel())
                .real(a.mean())
                .real(a.deviation())
                .word(a.seed())
                .word(a.offset())
                .pointer(a.base())
                .each(out.numel());
    }

    private void integers(RandomOps.Integers a, Tensor out) {
        call(out, "integers")
                .pointer(out)
                .word(out.numel())
                .word(a.low())
                .word(a.range())
                .flag(RandomOps.isWide(a.range()))
                .word(a.seed())
                .word(a.offset())
                .pointer(a.base())
                .each(out.numel());
    }

    private void bernoulli(RandomOps.Bernoulli a, Tensor out) {
        call(out, "bernoulli")
                .pointer(out)
                .word(out.numel())
                .word(RandomOps.threshold(1 - a.p()))
                .word(a.seed())
                .word(a.offset())
                .pointer(a.base())
                .each(out.numel());
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
