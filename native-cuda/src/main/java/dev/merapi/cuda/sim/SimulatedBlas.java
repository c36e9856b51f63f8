// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import dev.merapi.cpu.HostProducts;
import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.tensor.Tensor;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * What cuBLAS is to a GPU, the CPU's products are to the simulator: to run Merapi's own kernels for them would take a
 * hundred times as long. {@code -Dmerapi.cuda.sim.blas=own} leaves them alone.
 *
 * @param give takes work for a stream, in its order
 */
public record SimulatedBlas(BiConsumer<Long, Runnable> give) implements Blas {
    /** Null if there is no native code for it. */
    static @Nullable SimulatedBlas of(BiConsumer<Long, Runnable> give) {
        return "own".equals(System.getProperty("merapi.cuda.sim.blas")) || !HostProducts.isAvailable()
                ? null
                : new SimulatedBlas(give);
    }

    /** A line's length where there are several; BLAS wants it to be at least as long as what lies in it. */
    private record Form(long address, long leading, boolean transposed) {
        static @Nullable Form of(MatrixProduct.Operand o, boolean left) {
            if (!o.hasLines()) {
                return null;
            }
            long length = o.isAlongK() ? o.k() : o.size();
            long lines = o.isAlongK() ? o.size() : o.k();
            long leading = o.isAlongK() ? o.across() : o.along();
            if (lines > 1 && leading < length) {
                return null;
            }
            return new Form(o.tensor().address(), lines > 1 ? leading : Math.max(1, length), o.isAlongK() != left);
        }
    }

    @Override
    public boolean multiply(MatrixProduct p, boolean tf32, long stream) {
        Form a = Form.of(p.a(), true);
        Form b = Form.of(p.b(), false);
        if (!p.dtype().isFloating() || p.k() == 0 || p.sums() != null || p.gelu() != null || a == null || b == null) {
            return false;
        }
        Tensor bias = p.bias();
        long biasAddress = bias == null ? 0 : bias.address();
        long c = p.out().address();
        give.accept(stream, () -> run(p, a, b, biasAddress, c));
        return true;
    }

    private static void run(MatrixProduct p, Form a, Form b, long bias, long out) {
        int bytes = p.dtype().byteSize();
        long count = p.count();
        for (long z = 0; z < count; z++) {
            long atA = a.address;
            long atB = b.address;
            long rest = z;
            for (int d = p.batch().size() - 1; d >= 0; d--) {
                MatrixProduct.Leading l = p.batch().get(d);
                atA += rest % l.size() * l.a() * bytes;
                atB += rest % l.size() * l.b() * bytes;
                rest /= l.size();
            }
            long c = out + z * p.m() * p.n() * bytes;
            for (long row = 0; bias != 0 && row < p.m(); row++) {
                CudaNative.memory_copy(c + row * p.n() * bytes, bias, p.n() * bytes);
            }
            HostProducts.multiply(
                    p.dtype(),
                    p.m(),
                    p.n(),
                    p.k(),
                    atA,
                    a.leading,
                    a.transposed,
                    atB,
                    b.leading,
                    b.transposed,
                    c,
                    bias != 0);
        }
    }
}
