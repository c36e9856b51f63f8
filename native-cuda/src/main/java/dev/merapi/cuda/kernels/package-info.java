// SPDX-License-Identifier: Apache-2.0
/** The kernels of ops, and which op each serves. No API. */
@NullMarked
package dev.merapi.cuda.kernels;

import org.jspecify.annotations.NullMarked;
