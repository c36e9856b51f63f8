// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Factories;
import dev.merapi.ops.Rearranging;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.function.Function;

/** Ranges, triangles, and reversed elements. */
public final class CreationKernels {
    public static final Family FAMILY = new Family("creation.cuh", "arange", "linspace", "triangle", "flip");
    private static final int MAX_RANK = 64;

    private final Kernels kernels;
    private final String op;

    private CreationKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, CreationKernels> of = op -> new CreationKernels(op, kernels);
        table.make("arange", Factories.Arange.class, ALL, of, CreationKernels::arange);
        table.make("linspace", Factories.Linspace.class, ALL, of, CreationKernels::linspace);
        table.make("tril", Rearranging.Triangle.class, ALL, of, CreationKernels::lower);
        table.make("triu", Rearranging.Triangle.class, ALL, of, CreationKernels::upper);
        table.make("flip", Rearranging.Flip.class, ALL, of, CreationKernels::flip);
    }

    private Family.Call call(Tensor at, String entry) {
        return FAMILY.call(kernels, op, at, entry, at.dtype());
    }

    private static boolean isIntegral(Number n) {
        return !(n instanceof Double || n instanceof Float);
    }

    private void arange(Factories.Arange a, Tensor out) {
        call(out, "arange")
                .pointer(out)
                .word(out.numel())
                .real(a.start().doubleValue())
                .real(a.step().doubleValue())
                .word(a.start().longValue())
                .word(a.step().longValue())
                .flag(isIntegral(a.start()) && isIntegral(a.step()))
                .each(out.numel());
    }

    private void linspace(Factories.Linspace a, Tensor out) {
        long n = a.count();
        call(out, "linspace")
                .pointer(out)
                .word(n)
                .real(a.start())
                .real(a.end())
                .real(n > 1 ? (a.end() - a.start()) / (n - 1) : 0)
                .each(n);
    }

    private void lower(Rearranging.Triangle a, Tensor out) {
        triangle(a, out, true);
    }

    private void upper(Rearranging.Triangle a, Tensor out) {
        triangle(a, out, false);
    }

    private void triangle(Rearranging.Triangle a, Tensor out, boolean lower) {
        call(out, "triangle")
                .pointer(a.x())
                .pointer(out)
                .word(out.numel())
                .word(out.size(-2))
                .word(out.size(-1))
                .word(a.diagonal())
                .flag(lower)
                .each(out.numel());
    }

    private void flip(Rearranging.Flip a, Tensor out) {
        long[] words = dimensions(out.shape());
        for (int d : a.dims()) {
            if (out.rank() > 0) {
                words[2 + 2 * out.shape().normalize(d)] = 1;
            }
        }
        call(out, "flip")
                .pointer(a.x())
                .pointer(out)
                .word(out.numel())
                .struct(words)
                .each(out.numel());
    }

    /** Rank, then size and a free word of each dimension. */
    private long[] dimensions(Shape shape) {
        if (shape.rank() > MAX_RANK) {
            throw new ShapeException(
                    op + ": " + shape + " has more than " + MAX_RANK + " dimensions" + "\n  fix: reshape it.");
        }
        long[] words = new long[1 + 2 * MAX_RANK];
        words[0] = shape.rank();
        for (int d = 0; d < shape.rank(); d++) {
            words[1 + 2 * d] = shape.size(d);
        }
        return words;
    }
}
