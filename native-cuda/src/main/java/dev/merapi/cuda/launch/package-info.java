// SPDX-License-Identifier: Apache-2.0
/** What every kernel needs: compiled modules, arguments, launches, and the seam to a runtime. No API. */
@NullMarked
package dev.merapi.cuda.launch;

import org.jspecify.annotations.NullMarked;
