// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.function.LongToDoubleFunction;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** What the peers share: libtorch set up as it is at its best here, and tensors of the same values. */
final class Torch {
    private Torch() {}

    /** Loads libtorch, with a number of threads for itself and for its BLAS. */
    static void initialize(int threads) {
        // JavaCPP's own bookkeeping asks the system for the process's size at every allocation unless this is off.
        System.setProperty("org.bytedeco.javacpp.maxPhysicalBytes", "0");
        torch.set_num_threads(threads);
        openblas.blas_set_num_threads(threads);
    }

    static Tensor tensor(long seed, long... sizes) {
        int count = 1;
        for (long size : sizes) {
            count *= (int) size;
        }
        try (FloatPointer values = new FloatPointer(Data.values(seed, count))) {
            Tensor view = torch.from_blob(values, sizes);
            Tensor owned = view.clone();
            view.close();
            return owned;
        }
    }

    static void requireClose(String what, Tensor actual, LongToDoubleFunction expected, double tolerance) {
        FloatPointer data = new FloatPointer(actual.data_ptr_float());
        Data.requireClose("libtorch " + what, actual.numel(), data::get, expected, tolerance);
    }
}
