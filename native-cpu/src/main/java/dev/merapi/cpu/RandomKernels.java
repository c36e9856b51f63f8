// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.backend.KernelTable.ALL;
import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.ops.RandomOps;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Random ops natively: bit for bit what the reference gives. */
final class RandomKernels {
    private RandomKernels() {}

    static void register(KernelTable table) {
        table.put("uniform_", RandomOps.Uniform.class, FLOATING, RandomKernels::uniform);
        table.put("normal_", RandomOps.Normal.class, FLOATING, RandomKernels::normal);
        table.put("integers_", RandomOps.Integers.class, ALL, RandomKernels::integers);
        table.put("bernoulli_", RandomOps.Bernoulli.class, ALL, RandomKernels::bernoulli);
        table.put("dropout", RandomOps.Dropout.class, RandomOps.Dropped.class, FLOATING, RandomKernels::dropout);
    }

    static long offset(long offset, @Nullable Tensor base) {
        return base == null ? offset : offset + Elements.of(base).getLong(0);
    }

    static void uniform(RandomOps.Uniform a, Tensor out) {
        Native.random_uniform(
                DTypes.code(out.dtype()),
                a.seed(),
                offset(a.offset(), a.base()),
                out.numel(),
                a.low(),
                a.high(),
                out.address());
    }

    static void normal(RandomOps.Normal a, Tensor out) {
        Native.random_normal(
                DTypes.code(out.dtype()),
                a.seed(),
                offset(a.offset(), a.base()),
                out.numel(),
                a.mean(),
                a.deviation(),
                out.address());
    }

    static void integers(RandomOps.Integers a, Tensor out) {
        Native.random_integers(
                DTypes.code(out.dtype()),
                a.seed(),
                offset(a.offset(), a.base()),
                out.numel(),
                a.low(),
                a.range(),
                out.address());
    }

    static void bernoulli(RandomOps.Bernoulli a, Tensor out) {
        if (out.dtype().isFloating() || out.dtype().byteSize() != Byte.BYTES) {
            dev.merapi.reference.RandomReference.bernoulli(a, out);
            return;
        }
        Native.random_mask(
                a.seed(), offset(a.offset(), a.base()), out.numel(), RandomOps.threshold(1 - a.p()), out.address());
    }

    static void dropout(RandomOps.Dropout a, RandomOps.Dropped out) {
        Native.dropout(
                DTypes.code(a.x().dtype()),
                a.x().address(),
                a.seed(),
                offset(a.offset(), a.base()),
                a.x().numel(),
                RandomOps.threshold(a.p()),
                RandomOps.scale(a.p()),
                out.output().address(),
                out.mask().address());
    }
}
