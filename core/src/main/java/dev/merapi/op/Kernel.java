// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/**
 * Fills the outputs of an op on one backend, below autograd. The outputs are allocated by the dispatcher from the op's
 * shape rule; inputs are contiguous unless the op declares that it takes strides.
 */
@FunctionalInterface
public non-sealed interface Kernel<A, R> extends ReadyKernel<A, R> {
    void run(A args, R out);

    /** A kernel that makes its own result: for sizes that depend on data, and for plain values. */
    @FunctionalInterface
    non-sealed interface Returning<A, R> extends ReadyKernel<A, R> {
        R run(A args);
    }
}
