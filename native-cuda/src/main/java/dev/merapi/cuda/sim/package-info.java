// SPDX-License-Identifier: Apache-2.0
/** The simulator: CUDA kernels compiled for the CPU and run block by block. No API. */
@NullMarked
package dev.merapi.cuda.sim;

import org.jspecify.annotations.NullMarked;
