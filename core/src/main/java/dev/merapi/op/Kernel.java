// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/**
 * Fills the outputs of an op on one backend, below autograd. The outputs are allocated by the dispatcher from the op's
 * shape rule; inputs are contiguous unless the op declares that it takes strides.
 *
 * @param <A> the arguments
 * @param <R> the result
 */
@FunctionalInterface
public non-sealed interface Kernel<A, R> extends ReadyKernel<A, R> {
    /**
     * Fills the outputs.
     *
     * @param args of the call; its tensors are row-major unless the op declares {@code stridesOk}
     * @param out what the shape rule made, with memory whose contents are undefined
     */
    void run(A args, R out);

    /**
     * A kernel that makes its own result: for sizes that depend on data, and for plain values.
     *
     * @param <R> the result
     * @param <A> the arguments
     */
    @FunctionalInterface
    non-sealed interface Returning<A, R> extends ReadyKernel<A, R> {
        /**
         * Makes the result.
         *
         * @param args of the call; its tensors are row-major unless the op declares {@code stridesOk}
         * @return tensors and plain values that are new
         */
        R run(A args);
    }
}
