// SPDX-License-Identifier: Apache-2.0
/** Counter-based random numbers: {@link dev.merapi.random.Generator} hands out ranges of the Philox sequence. */
@NullMarked
package dev.merapi.random;

import org.jspecify.annotations.NullMarked;
