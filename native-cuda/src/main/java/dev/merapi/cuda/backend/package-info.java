// SPDX-License-Identifier: Apache-2.0

/** The backends above the seam: kernels, memory, streams and graphs of a kind of device. {@link dev.merapi.cuda.backend.KernelBackend} is what a backend on another runtime extends. */
@NullMarked
package dev.merapi.cuda.backend;

import org.jspecify.annotations.NullMarked;
