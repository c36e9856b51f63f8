// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.backend.KernelTable;
import dev.merapi.cuda.launch.Kernels;

/** The kernels of ops that are neither pointwise nor reductions. */
public final class StructuredKernels {
    private StructuredKernels() {}

    public static KernelTable table(Kernels kernels) {
        KernelTable table = new KernelTable();
        MatmulKernels.register(table, kernels);
        IndexKernels.register(table, kernels);
        ScatterKernels.register(table, kernels);
        OrderingKernels.register(table, kernels);
        CreationKernels.register(table, kernels);
        ScanKernels.register(table, kernels);
        CumulativeKernels.register(table, kernels);
        RandomKernels.register(table, kernels);
        RowKernels.register(table, kernels);
        OptimizerKernels.register(table, kernels);
        ImageKernels.register(table, kernels);
        AttentionKernels.register(table, kernels);
        return table;
    }
}
