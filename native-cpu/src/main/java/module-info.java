// SPDX-License-Identifier: Apache-2.0
/** The CPU backend: C++ kernels through JavaCPP. */
module dev.merapi.cpu {
    requires transitive dev.merapi.core;
    requires org.bytedeco.javacpp;
    requires org.slf4j;
    requires static org.jspecify;

    exports dev.merapi.cpu;

    opens dev.merapi.cpu to
            org.bytedeco.javacpp;

    uses dev.merapi.cpu.Natives;
    uses dev.merapi.cpu.BlasLibrary;

    provides dev.merapi.backend.Backend with
            dev.merapi.cpu.CpuBackend;
}
