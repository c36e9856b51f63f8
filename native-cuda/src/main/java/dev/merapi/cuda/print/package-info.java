// SPDX-License-Identifier: Apache-2.0

/** CUDA sources printed from expressions: pointwise ops, reductions, and what stands around the bodies of custom kernels. No API. */
@NullMarked
package dev.merapi.cuda.print;

import org.jspecify.annotations.NullMarked;
