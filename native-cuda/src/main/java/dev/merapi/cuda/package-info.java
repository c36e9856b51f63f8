// SPDX-License-Identifier: Apache-2.0

/**
 * The CUDA backend. Everything above {@code CudaRuntime} is the same for a GPU and for {@code SimulatedCuda}, which runs
 * unmodified kernels on the CPU under the device {@code cuda-sim}. May use core's engine packages except autograd.
 */
@NullMarked
package dev.merapi.cuda;

import org.jspecify.annotations.NullMarked;
