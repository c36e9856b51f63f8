// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend, and the simulator that runs its kernels where there is no GPU. */
@SuppressWarnings("module") // the benchmarks are built later
module dev.merapi.cuda {
    requires transitive dev.merapi.core;
    requires dev.merapi.cpu;
    requires org.bytedeco.javacpp;
    requires org.slf4j;
    requires static org.jspecify;

    exports dev.merapi.cuda;

    // For those who bring a runtime like CUDA's.
    exports dev.merapi.cuda.backend;
    exports dev.merapi.cuda.runtime;
    exports dev.merapi.cuda.report to
            dev.merapi.benchmarks;

    opens dev.merapi.cuda.host to
            org.bytedeco.javacpp;

    provides dev.merapi.backend.Backend with
            dev.merapi.cuda.backend.CudaBackend,
            dev.merapi.cuda.backend.CudaSimBackend;
}
