// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

/** A library's products of matrices on one device, in the order of its compute stream. Any thread may call. */
interface Blas {
    /**
     * Computes a product, or begins to.
     *
     * @param tf32 whether float32 operands may be rounded to tf32
     * @return false if the product is none for the library, and nothing was done
     */
    boolean multiply(MatrixProduct p, boolean tf32);
}
