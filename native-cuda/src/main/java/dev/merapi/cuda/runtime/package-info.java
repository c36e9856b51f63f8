// SPDX-License-Identifier: Apache-2.0

/** The seam to a device: {@link dev.merapi.cuda.runtime.CudaRuntime}, what it is handed, and what it throws. A runtime like CUDA's implements it; {@code backend.KernelBackend} stands above. */
@NullMarked
package dev.merapi.cuda.runtime;

import org.jspecify.annotations.NullMarked;
