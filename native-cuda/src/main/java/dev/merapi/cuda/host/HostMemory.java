// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.host;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** A piece of native memory that Java sees, freed by {@link #close}: texts and descriptors for native calls. */
public final class HostMemory implements AutoCloseable {
    private final long address;
    private final ByteBuffer buffer;

    private HostMemory(long address, ByteBuffer buffer) {
        this.address = address;
        this.buffer = buffer;
    }

    public static HostMemory allocate(long bytes) {
        long address = CudaNative.memory_allocate(bytes);
        if (address == 0) {
            throw new OutOfMemoryError("cuda: no " + bytes + " bytes of host memory");
        }
        return new HostMemory(address, view(address, bytes));
    }

    /** Zero-terminated. */
    public static HostMemory text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        HostMemory memory = allocate(bytes.length + 1L);
        memory.buffer.put(0, bytes).put(bytes.length, (byte) 0);
        return memory;
    }

    /** Memory of somebody else's as a buffer; at most 2 GiB. */
    public static ByteBuffer view(long address, long bytes) {
        return CudaNative.buffer_at(address, bytes).order(ByteOrder.nativeOrder());
    }

    public long address() {
        return address;
    }

    public ByteBuffer buffer() {
        return buffer;
    }

    /** The zero-terminated text in it. */
    public String text() {
        int length = 0;
        while (length < buffer.capacity() && buffer.get(length) != 0) {
            length++;
        }
        byte[] bytes = new byte[length];
        buffer.get(0, bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    @Override
    public void close() {
        CudaNative.memory_free(address);
    }
}
