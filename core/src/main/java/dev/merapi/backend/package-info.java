// SPDX-License-Identifier: Apache-2.0
/**
 * What a kind of device offers: {@link dev.merapi.backend.Backend} is what the author of a backend implements, with its
 * kernels in a {@link dev.merapi.backend.KernelTable}.
 */
@NullMarked
package dev.merapi.backend;

import org.jspecify.annotations.NullMarked;
