// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.types.DType;

/** The CPU's products of matrices by address, for backends of other devices whose memory is the host's. */
public final class HostProducts {
    private HostProducts() {}

    private static final class Holder {
        static final boolean LOADED = load();
    }

    private static boolean load() {
        try {
            return Native.num_threads() > 0;
        } catch (LinkageError e) {
            return false;
        }
    }

    /** Whether native code can be loaded. */
    public static boolean isAvailable() {
        return Holder.LOADED;
    }

    /**
     * C = A·B (+ C): A is [m, k], B [k, n], C [m, n], row-major. Nothing is checked.
     *
     * @param dtype of all three; floating
     * @param a address
     * @param leadingA elements from row to row, or, transposed, from column to column
     * @param adds whether C is added to; else it may hold anything
     */
    public static void multiply(
            DType dtype,
            long m,
            long n,
            long k,
            long a,
            long leadingA,
            boolean transposedA,
            long b,
            long leadingB,
            boolean transposedB,
            long c,
            boolean adds) {
        Blas.ensure();
        Native.gemm(
                DTypes.code(dtype),
                transposedA ? 1 : 0,
                transposedB ? 1 : 0,
                m,
                n,
                k,
                1,
                a,
                leadingA,
                b,
                leadingB,
                adds ? 1 : 0,
                c,
                n);
    }
}
