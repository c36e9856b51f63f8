// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.backend.KernelTable.ALL;
import static dev.merapi.backend.KernelTable.FLOATING;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.ops.Scans;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Running products, extremes and logarithms of sums of exponentials; see {@code cumulative.cuh}. */
public final class CumulativeKernels {
    public static final Family FAMILY = new Family("cumulative.cuh", "cumulate");

    private static final int THREADS = 256;
    private static final int WARP = 32;
    /** Lanes that a warp goes over in so few steps are not worth a block. */
    private static final int STEPS = 8;

    private static final int PRODUCT = 0;
    private static final int LOG_OF_SUM = 1;
    private static final int LARGEST = 2;
    private static final int SMALLEST = 3;

    /** What the kernel is compiled for. */
    public record Types(DType storage, DType result, int kind) {
        public String text() {
            return Family.type("T", storage) + Family.type("Y", result) + "#define KIND " + kind + "\n";
        }
    }

    private final Kernels kernels;
    private final String op;

    private CumulativeKernels(String op, Kernels kernels) {
        this.op = op;
        this.kernels = kernels;
    }

    static void register(KernelTable table, Kernels kernels) {
        Function<String, CumulativeKernels> of = op -> new CumulativeKernels(op, kernels);
        table.make("cumprod", Scans.Along.class, ALL, of, (k, a, out) -> k.run(a, PRODUCT, out, null));
        table.make("logcumsumexp", Scans.Along.class, FLOATING, of, (k, a, out) -> k.run(a, LOG_OF_SUM, out, null));
        table.make(
                "cummax",
                Scans.Along.class,
                Scans.Extremes.class,
                ALL,
                of,
                (k, a, out) -> k.run(a, LARGEST, out.values(), out.indices()));
        table.make(
                "cummin",
                Scans.Along.class,
                Scans.Extremes.class,
                ALL,
                of,
                (k, a, out) -> k.run(a, SMALLEST, out.values(), out.indices()));
    }

    private void run(Scans.Along a, int kind, Tensor out, @Nullable Tensor indices) {
        Tensor x = a.x();
        if (x.numel() == 0) {
            return;
        }
        int dim = x.shape().normalize(a.dim());
        long n = x.rank() == 0 ? 1 : x.size(dim);
        long inner = 1;
        for (int d = dim + 1; d < x.rank(); d++) {
            inner *= x.size(d);
        }
        long lanes = x.numel() / n;
        int across = n <= (long) STEPS * WARP ? WARP : THREADS;
        int teams = THREADS / across;
        long blocks = Math.min(Integer.MAX_VALUE, (lanes + teams - 1) / teams);
        FAMILY.call(kernels, op, out, "cumulate", new Types(x.dtype(), out.dtype(), kind), Types::text)
                .pointer(x)
                .pointer(out)
                .pointer(indices)
                .struct(lanes, n, inner)
                .run(new CudaRuntime.Grid(blocks, 1, 1, across, teams, 1, 0));
    }
}
