// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Kernel;
import dev.merapi.ops.Factories;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Rearranging;
import dev.merapi.ops.Reductions;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/** Ranges, triangles, reversed and running elements, and where what is not 0 stands. */
final class CreationKernels {
    static final Family FAMILY =
            new Family("creation.cuh", "arange", "linspace", "triangle", "flip", "cumsum", "nonzero");
    private static final int MAX_RANK = 8;

    private final Kernels kernels;
    private final String op;

    private CreationKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static @Nullable Object kernel(String op, Kernels kernels) {
        CreationKernels k = new CreationKernels(op, kernels);
        return switch (op) {
            case "merapi::arange" -> (Kernel<Factories.Arange, Tensor>) k::arange;
            case "merapi::linspace" -> (Kernel<Factories.Linspace, Tensor>) k::linspace;
            case "merapi::tril" -> (Kernel<Rearranging.Triangle, Tensor>) (a, out) -> k.triangle(a, out, true);
            case "merapi::triu" -> (Kernel<Rearranging.Triangle, Tensor>) (a, out) -> k.triangle(a, out, false);
            case "merapi::flip" -> (Kernel<Rearranging.Flip, Tensor>) k::flip;
            case "merapi::cumsum" -> (Kernel<Reductions.CumSum, Tensor>) k::cumsum;
            case "merapi::nonzero" -> (Kernel.Returning<Indexing.NonZero, Tensor>) k::nonzero;
            default -> null;
        };
    }

    /** What the kernels are compiled for. */
    record Types(DType storage, DType result) {
        String text() {
            return Family.type("T", storage)
                    + Family.type("Y", result)
                    + Family.type("V", result.isFloating() ? result.computeType() : DType.INT64);
        }
    }

    private Family.Call call(Tensor at, DType result, String entry) {
        return FAMILY.call(kernels, op, at, entry, new Types(at.dtype(), result), Types::text);
    }

    private static boolean isIntegral(Number n) {
        return !(n instanceof Double || n instanceof Float);
    }

    private void arange(Factories.Arange a, Tensor out) {
        call(out, out.dtype(), "arange")
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
        call(out, out.dtype(), "linspace")
                .pointer(out)
                .word(n)
                .real(a.start())
                .real(a.end())
                .real(n > 1 ? (a.end() - a.start()) / (n - 1) : 0)
                .each(n);
    }

    private void triangle(Rearranging.Triangle a, Tensor out, boolean lower) {
        call(out, out.dtype(), "triangle")
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
        call(out, out.dtype(), "flip")
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

    private void cumsum(Reductions.CumSum a, Tensor out) {
        Tensor x = a.x();
        long n = x.rank() == 0 ? 1 : x.size(a.dim());
        long inner = 1;
        for (int d = x.rank() == 0 ? 0 : x.shape().normalize(a.dim()) + 1; d < x.rank(); d++) {
            inner *= x.size(d);
        }
        long lanes = x.numel() / n;
        call(x, out.dtype(), "cumsum")
                .pointer(x)
                .pointer(out)
                .word(lanes)
                .word(n)
                .word(inner)
                .each(lanes);
    }

    private Tensor nonzero(Indexing.NonZero a) {
        Tensor x = a.x();
        long[] words = dimensions(x.shape());
        try (Tensor count = Tensor.allocate(Shape.SCALAR, DType.INT64, x.device())) {
            found(x, null, count, words);
            Tensor out = Tensor.allocate(Shape.of(count.itemLong(), x.rank()), DType.INT64, x.device());
            if (out.numel() > 0) {
                found(x, out, count, words);
            }
            return out;
        }
    }

    private void found(Tensor x, @Nullable Tensor out, Tensor count, long[] words) {
        call(x, x.dtype(), "nonzero")
                .pointer(x)
                .pointer(out)
                .pointer(count)
                .word(x.numel())
                .struct(words)
                .run(CudaRuntime.Grid.of(1, 256));
    }
}
