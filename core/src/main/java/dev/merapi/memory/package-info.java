// SPDX-License-Identifier: Apache-2.0
/**
 * The memory of devices as a backend offers it: {@link dev.merapi.memory.RawAllocator} gives segments, on which the engine
 * builds. Depends on {@code types} and {@code error}.
 */
@NullMarked
package dev.merapi.memory;

import org.jspecify.annotations.NullMarked;
