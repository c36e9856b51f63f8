// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/**
 * A kernel that can be called as it is: one that fills the outputs, or one that makes them.
 *
 * @param <A> the arguments
 * @param <R> the result
 */
public sealed interface ReadyKernel<A, R> extends KernelPiece permits Kernel, Kernel.Returning {}
