// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

/** A library's products of matrices on one device. Any thread may call. */
public interface Blas {
    /**
     * Computes a product, or begins to.
     *
     * @param tf32 whether float32 operands may be rounded to tf32
     * @param stream in whose order; 0 is the compute stream
     * @return false if the product is none for the library, and nothing was done
     */
    boolean multiply(MatrixProduct p, boolean tf32, long stream);
}
