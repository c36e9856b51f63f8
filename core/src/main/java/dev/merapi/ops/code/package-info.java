// SPDX-License-Identifier: Apache-2.0
/** The expressions of pointwise ops and reductions, with their programs: what backends build kernels from. For the engine. */
@NullMarked
package dev.merapi.ops.code;

import org.jspecify.annotations.NullMarked;
