// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

/**
 * A library of matrix products that large ones may be handed to, found as a service. The artifact {@code merapi-openblas}
 * has that of OpenBLAS. Which one serves is said by the system property {@code merapi.cpu.blas}: {@code own} is none,
 * {@code auto}, which is the default, takes OpenBLAS where we have no tuned kernels of our own, and the name of a library
 * takes that one.
 */
public interface BlasLibrary {
    /** {@return what {@code merapi.cpu.blas} calls it, in small letters} */
    String name();

    /**
     * Loads the library; called once, at the first product of matrices.
     *
     * @return the path of the shared library that has {@code cblas_sgemm} and {@code cblas_dgemm}
     * @throws RuntimeException if it cannot be loaded, or a {@link LinkageError}
     */
    String load();
}
