// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend, and the simulator that runs its kernels where there is no GPU. */
module dev.merapi.cuda {
    requires transitive dev.merapi.core;
    requires dev.merapi.cpu;
    requires org.bytedeco.javacpp;
    requires org.slf4j;
    requires static org.jspecify;

    exports dev.merapi.cuda;

    opens dev.merapi.cuda.driver to
            org.bytedeco.javacpp;

    provides dev.merapi.dispatch.Backend with
            dev.merapi.cuda.CudaBackend,
            dev.merapi.cuda.CudaSimBackend;
}
