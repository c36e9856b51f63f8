// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;

/** Elements and rows that indices choose; see {@code lookup.cuh}. */
public final class LookupKernels {
    public static final Family FAMILY = new Family("lookup.cuh", "lookup_rows", "lookup_elements");
    private static final int THREADS = 256;
    private static final long MOST_BLOCKS_DOWN = 65_535;

    /**
     * What the kernels are compiled for.
     *
     * @param bytes of an element
     * @param wide whether elements are counted in 64 bits
     */
    public record Types(int bytes, DType index, int pack, boolean wide) {
        public String text() {
            return Family.bits("T", bytes)
                    + Family.type("I", index)
                    + "#define PACK " + pack + "\n"
                    + "typedef " + (wide ? "long long" : "unsigned int") + " N;\n";
        }
    }

    private final Kernels kernels;
    private final String op;
    private final String name;

    /** @param name the op, as faults name it */
    LookupKernels(Kernels kernels, String op, String name) {
        this.kernels = kernels;
        this.op = op;
        this.name = name;
    }

    private Family.Call call(Tensor at, String entry, Types types) {
        return FAMILY.call(kernels, op, at, entry, types, Types::text);
    }

    /** How many neighbours can be taken at once: 16 bytes, if rows of {@code inner} elements and addresses allow. */
    static int pack(int bytes, int most, long inner, long addresses) {
        int pack = Math.min(most, 16 / bytes);
        while (inner % pack != 0 || addresses % ((long) pack * bytes) != 0) {
            pack /= 2;
        }
        return pack;
    }

    /**
     * y[o, j, i] = x[o, index[j], i].
     *
     * @param x contiguous [outer, size, inner]
     * @param y contiguous [outer, n, inner]
     */
    void rows(Tensor x, Tensor index, Tensor y, long size, long inner) {
        if (y.numel() == 0) {
            return;
        }
        int bytes = y.dtype().byteSize();
        int pack = pack(bytes, 16, inner, x.address() | y.address());
        long packs = inner / pack;
        long rows = y.numel() / inner;
        int across = (int) Math.min(THREADS, Long.highestOneBit(2 * packs - 1));
        int down = THREADS / across;
        call(y, "lookup_rows", new Types(bytes, index.dtype(), pack, false))
                .pointer(x)
                .pointer(index)
                .pointer(y)
                .word(rows)
                .word(index.numel())
                .word(size)
                .word(packs)
                .fault(name)
                .run(new CudaRuntime.Grid(
                        Math.min(Integer.MAX_VALUE, (rows + down - 1) / down),
                        Math.min(MOST_BLOCKS_DOWN, (packs + across - 1) / across),
                        1,
                        across,
                        down,
                        1,
                        0));
    }

    /**
     * y[o, j, i] = x[o, index[o, j, i], i].
     *
     * @param x contiguous [outer, size, inner]
     * @param y contiguous [outer, n, inner]
     */
    void elements(Tensor x, Tensor index, Tensor y, long size, long n, long inner) {
        long count = y.numel();
        if (count == 0) {
            return;
        }
        // Half of what 31 bits hold: a step beyond the end does not come round to the beginning.
        boolean wide = count > Integer.MAX_VALUE / 2;
        call(y, "lookup_elements", new Types(y.dtype().byteSize(), index.dtype(), 1, wide))
                .pointer(x)
                .pointer(index)
                .pointer(y)
                .word(count)
                .struct(n, size, inner, wide ? 0 : PointwiseKernel.magic(n), wide ? 0 : PointwiseKernel.magic(inner))
                .fault(name)
                .each(count);
    }
}
