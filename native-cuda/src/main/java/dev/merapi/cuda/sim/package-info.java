// SPDX-License-Identifier: Apache-2.0

/** The simulator under the seam: the same kernels, compiled with the host's compiler and run on its threads, with checks. No API. */
@NullMarked
package dev.merapi.cuda.sim;

import org.jspecify.annotations.NullMarked;
