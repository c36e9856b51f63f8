// SPDX-License-Identifier: Apache-2.0

/** Which kernels serve which op, and how their work is cut into blocks. No API. */
@NullMarked
package dev.merapi.cuda.kernels;

import org.jspecify.annotations.NullMarked;
