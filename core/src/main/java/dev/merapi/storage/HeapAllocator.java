// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/** Memory of the Java heap: what the plain-Java backend stands on. Segments end at 2 GiB. */
public final class HeapAllocator implements RawAllocator {
    private static final long LARGEST = Integer.MAX_VALUE - 64;

    @Override
    public @Nullable Segment allocate(long byteSize) {
        if (byteSize > LARGEST) {
            return null;
        }
        try {
            return new Segment(ByteBuffer.allocate((int) byteSize).order(ByteOrder.nativeOrder()), 0, byteSize);
        } catch (OutOfMemoryError e) {
            return null;
        }
    }

    @Override
    public void free(Segment segment) {
        // Dropping the last reference is all that the heap needs.
    }

    @Override
    public long defaultCap() {
        return Runtime.getRuntime().maxMemory() / 4 * 3;
    }
}
