// SPDX-License-Identifier: Apache-2.0
/** OpenBLAS for large products of matrices on the CPU. */
module dev.merapi.openblas {
    requires dev.merapi.cpu;
    requires org.bytedeco.javacpp;
    requires org.bytedeco.openblas;
    requires org.bytedeco.openblas.linux.arm64; // natives, where this library is the faster one
    requires org.bytedeco.openblas.macosx.arm64;
    requires org.bytedeco.javacpp.linux.arm64;
    requires org.bytedeco.javacpp.macosx.arm64;
    requires static org.jspecify;

    provides dev.merapi.cpu.BlasLibrary with
            dev.merapi.openblas.OpenBlas;
}
