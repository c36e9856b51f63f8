// SPDX-License-Identifier: Apache-2.0

/** What every room stands on: the native library, memory of the host as C++ sees it, and the texts of the sources. No API. */
@NullMarked
package dev.merapi.cuda.host;

import org.jspecify.annotations.NullMarked;
