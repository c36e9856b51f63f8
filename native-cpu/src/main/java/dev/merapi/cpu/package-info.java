// SPDX-License-Identifier: Apache-2.0
/**
 * The native CPU backend. {@link dev.merapi.cpu.CpuBackend} says which kernel serves which op; the kernels themselves are
 * C++ in {@code src/main/cpp}, called through {@code Native} with primitives and addresses only. May use core's engine
 * packages except autograd.
 */
@NullMarked
package dev.merapi.cpu;

import org.jspecify.annotations.NullMarked;
