// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * out[z, m, n] = a[z, m, k] · b[z, k, n] (+ bias[n]), row-major, as kernels and libraries want it told: leading
 * dimensions that lie like one are one, and where all share b, they are rows.
 *
 * @param sums [m], gets the sums of a along k; or with {@code gelu}, backward, [n], those of the result's columns
 * @param gelu what else is done to the result; this and sums only a library does, and not every one
 * @param batch the leading dimensions, outermost first
 */
public record MatrixProduct(
        String op,
        Operand a,
        Operand b,
        @Nullable Tensor bias,
        @Nullable Tensor sums,
        @Nullable Gelu gelu,
        Tensor out,
        long m,
        long n,
        long k,
        List<Leading> batch) {
    static final int MAX_BATCH_RANK = 6;

    /**
     * The tanh approximation of the GELU.
     *
     * @param inner [m, n] as the result: gets what the GELU is applied to, the bias included; backward it has that, and the
     *     product is multiplied by the derivative there
     */
    public record Gelu(Tensor inner, boolean backward) {}

    /** A leading dimension: its size, and the strides of both operands, 0 where broadcast. */
    public record Leading(long size, long a, long b) {}

    /**
     * A matrix of k and m, or k and n.
     *
     * @param size m or n
     * @param across stride along it
     * @param along stride along k
     */
    public record Operand(Tensor tensor, long size, long k, long across, long along) {
        public boolean isAlongK() {
            return along == 1 || k == 1 && across != 1;
        }

        /** Whether elements are neighbours along one of the dimensions. */
        public boolean hasLines() {
            return isAlongK() || across == 1 || size == 1;
        }

        /** Stride from line to line. A line that is the only one may be as long as it likes. */
        public long leading() {
            long lines = isAlongK() ? size : k;
            int step = 16 / (int) tensor.dtype().byteSize();
            long length = isAlongK() ? k : size;
            return lines == 1 ? (length + step - 1) / step * step : isAlongK() ? across : along;
        }

        public boolean isAligned(int bytes) {
            long element = tensor.dtype().byteSize();
            return tensor.address() % bytes == 0 && leading() * element % bytes == 0;
        }
    }

    public static MatrixProduct of(LinearAlgebra.Matmul args, Tensor out) {
        Tensor a = args.a();
        Tensor b = args.b();
        long m = a.size(-2);
        long k = a.size(-1);
        Operand left = new Operand(a, m, k, a.layout().stride(-2), a.layout().stride(-1));
        Operand right =
                new Operand(b, b.size(-1), k, b.layout().stride(-1), b.layout().stride(-2));
        List<Leading> batch = new ArrayList<>();
        for (int d = 0; d < out.rank() - 2; d++) {
            int fromEnd = d - out.rank();
            Leading next = new Leading(out.size(d), stride(a, fromEnd), stride(b, fromEnd));
            Leading last = batch.isEmpty() ? null : batch.get(batch.size() - 1);
            if (next.size == 1) {
                continue;
            }
            if (last != null && last.a == next.a * next.size && last.b == next.b * next.size) {
                batch.remove(batch.size() - 1);
                next = new Leading(last.size * next.size, next.a, next.b);
            }
            batch.add(next);
        }
        if (batch.size() == 1
                && batch.get(0).b == 0
                && left.isAlongK()
                && (m == 1 || batch.get(0).a == m * left.across)) {
            Leading rows = batch.remove(0);
            left = new Operand(a, m * rows.size, k, m == 1 ? rows.a : left.across, left.along);
        }
        if (batch.size() > MAX_BATCH_RANK) {
            throw new ShapeException("matmul: more than " + MAX_BATCH_RANK + " leading dimensions: " + out.shape()
                    + "\n  fix: reshape the operands.");
        }
        return new MatrixProduct("merapi::matmul", left, right, null, null, null, out, left.size, right.size, k, batch);
    }

    /** x·weightᵀ: all rows of x as one matrix. */
    public static MatrixProduct of(LinearAlgebra.Linear args, Tensor out) {
        long k = args.weight().size(1);
        long n = args.weight().size(0);
        long m = out.numel() / n;
        Operand x = new Operand(args.x(), m, k, k, 1);
        Operand weight = new Operand(args.weight(), n, k, k, 1);
        return new MatrixProduct("merapi::linear", x, weight, args.bias(), null, null, out, m, n, k, List.of());
    }

    public MatrixProduct withoutSums() {
        return new MatrixProduct(op, a, b, bias, null, gelu, out, m, n, k, batch);
    }

    public MatrixProduct withoutBias() {
        return new MatrixProduct(op, a, b, null, sums, gelu, out, m, n, k, batch);
    }

    /** @param dim counted from the end of the result's */
    private static long stride(Tensor t, int dim) {
        int d = t.rank() + dim;
        return d < 0 || t.size(d) == 1 ? 0 : t.layout().stride(d);
    }

    public DType dtype() {
        return out.dtype();
    }

    /** The tensors, for a message, a line each. */
    public String facts() {
        return "\n  a: " + a.tensor.describe() + "\n  b: " + b.tensor.describe() + "\n  out: " + out.describe();
    }

    public long count() {
        long n = 1;
        for (Leading d : batch) {
            n *= d.size;
        }
        return n;
    }

    /** Whether every line of both operands begins at a multiple of so many bytes. */
    public boolean isAligned(int bytes) {
        long element = dtype().byteSize();
        boolean aligned = a.isAligned(bytes) && b.isAligned(bytes);
        for (Leading d : batch) {
            aligned &= d.a * element % bytes == 0 && d.b * element % bytes == 0;
        }
        return aligned;
    }

    /** For kernels: how many leading dimensions, then size and strides of each of {@link #MAX_BATCH_RANK}. */
    public long[] batchWords() {
        long[] words = new long[1 + 3 * MAX_BATCH_RANK];
        words[0] = batch.size();
        for (int d = 0; d < batch.size(); d++) {
            words[1 + 3 * d] = batch.get(d).size;
            words[2 + 3 * d] = batch.get(d).a;
            words[3 + 3 * d] = batch.get(d).b;
        }
        return words;
    }
}
