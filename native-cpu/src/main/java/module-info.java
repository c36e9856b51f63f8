// SPDX-License-Identifier: Apache-2.0
/** The CPU backend: C++ kernels through JavaCPP, and OpenBLAS. */
module dev.merapi.cpu {
    requires transitive dev.merapi.core;
    requires org.bytedeco.javacpp;
    requires org.bytedeco.openblas;
    requires org.slf4j;
    requires static org.jspecify;

    exports dev.merapi.cpu;

    opens dev.merapi.cpu to
            org.bytedeco.javacpp;

    provides dev.merapi.dispatch.Backend with
            dev.merapi.cpu.CpuBackend;
}
