// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.memory.HeapAllocator;
import dev.merapi.memory.Mapping;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Segments of native memory, each wrapped in a buffer once if it is small enough for that. */
final class NativeMemory implements RawAllocator {
    @Override
    public @Nullable Segment allocate(long byteSize) {
        long address = Native.memory_allocate(byteSize);
        return address == 0 ? null : new Segment(view(address, byteSize), address, byteSize);
    }

    @Override
    public void free(Segment segment) {
        Native.memory_free(segment.address(), segment.byteSize());
    }

    /** Its own root, unlike a slice: views of a direct buffer hold the buffer that they all come from. */
    @Override
    public ByteBuffer view(Segment segment, int offset, int size) {
        return bufferAt(segment.address() + offset, size);
    }

    @Override
    public @Nullable Segment allocateGuarded(long byteSize) {
        long address = Native.memory_guarded_allocate(byteSize);
        if (address == 0) {
            return null;
        }
        long bytes = Native.memory_guarded_size(byteSize);
        return new Segment(view(address, bytes), address, bytes);
    }

    @Override
    public void freeGuarded(Segment segment) {
        Native.memory_guarded_free(segment.address(), segment.byteSize());
    }

    @Override
    public @Nullable Segment wrap(ByteBuffer buffer) {
        if (!buffer.isDirect()) {
            return null;
        }
        ByteBuffer whole = buffer.slice().order(ByteOrder.nativeOrder());
        return new Segment(whole, whole.capacity() == 0 ? 0 : Native.address_of(whole), whole.capacity());
    }

    @Override
    public Segment wrap(long address, long bytes) {
        return new Segment(view(address, bytes), address, bytes);
    }

    @Override
    public @Nullable Mapping map(Path file, long offset, long bytes) throws IOException {
        long address = Native.memory_map(file.toString(), offset, bytes);
        if (address != 0) {
            return new Mapping(wrap(address, bytes), () -> Native.memory_unmap(address, bytes));
        }
        Mapping byJava = new HeapAllocator().map(file, offset, bytes); // on Windows, or with a name that C cannot say
        ByteBuffer buffer = byJava == null ? null : byJava.segment().buffer();
        Segment segment = buffer == null ? null : wrap(buffer);
        return segment == null ? null : new Mapping(segment, () -> {});
    }

    @Override
    public long defaultCap() {
        return Native.memory_limit() / 4 * 3;
    }

    private static @Nullable ByteBuffer view(long address, long byteSize) {
        return byteSize > Integer.MAX_VALUE ? null : bufferAt(address, byteSize);
    }

    /** Zero-terminated text in memory that is never freed; for names that live as long as the process. */
    static long permanentText(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        long address = Native.memory_allocate(bytes.length + 1L);
        ByteBuffer buffer = bufferAt(address, bytes.length + 1L);
        buffer.put(0, bytes).put(bytes.length, (byte) 0);
        return address;
    }

    static ByteBuffer bufferAt(long address, long byteSize) {
        return Native.buffer_at(address, byteSize).order(ByteOrder.nativeOrder());
    }
}
