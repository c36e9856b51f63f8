// SPDX-License-Identifier: Apache-2.0
/** From expressions and bodies to CUDA source. No API. */
@NullMarked
package dev.merapi.cuda.print;

import org.jspecify.annotations.NullMarked;
