// SPDX-License-Identifier: Apache-2.0
package dev.merapi.memory;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * One piece of raw memory as its device gave it, out of which blocks are cut.
 *
 * @param buffer the memory as Java sees it, in native byte order; null for device memory and above 2 GiB
 * @param address where it starts, for native code; 0 if there is no such address
 * @param byteSize how large it is
 */
public record Segment(@Nullable ByteBuffer buffer, long address, long byteSize) {}
