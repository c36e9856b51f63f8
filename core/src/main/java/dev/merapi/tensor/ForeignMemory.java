// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.error.DTypeException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.memory.Mapping;
import dev.merapi.memory.Segment;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** CPU tensors over memory that others own. What is wrong is found before anything is held. */
final class ForeignMemory {
    private ForeignMemory() {}

    static Tensor wrap(ByteBuffer buffer, DType dtype, Shape shape) {
        long bytes = bytes("wrap", dtype, shape);
        if (buffer.isReadOnly()) {
            throw new IllegalArgumentException(
                    "wrap: the buffer is read-only, and ops may write to a tensor\n  fix: Tensor.of(…) copies.");
        }
        if (bytes > buffer.remaining()) {
            throw new ShapeException("wrap: " + dtype + shape + " takes " + bytes + " bytes, the buffer has "
                    + buffer.remaining() + " left");
        }
        Segment segment = allocator().wrap(buffer.slice(buffer.position(), (int) bytes));
        if (segment == null) {
            throw new DeviceException(Message.of("wrap: native kernels cannot see a buffer on the Java heap")
                    .fix("ByteBuffer.allocateDirect, or Tensor.of(…), which copies."));
        }
        return over("wrap", segment, dtype, shape, buffer, () -> {});
    }

    static Tensor over(long address, DType dtype, Shape shape, @Nullable Object owner, Runnable release) {
        long bytes = bytes("over", dtype, shape);
        if (address == 0) {
            throw new IllegalArgumentException("over: the address is null");
        }
        if (address < 0 || bytes > Long.MAX_VALUE - address) {
            throw new ShapeException("over: " + bytes + " bytes from address " + address + " on go beyond all memory");
        }
        Segment segment = allocator().wrap(address, bytes);
        if (segment == null) {
            throw new DeviceException(
                    Message.of("over: plain Java sees no addresses").fix("load the native backend, or wrap a buffer."));
        }
        return over("over", segment, dtype, shape, owner, release);
    }

    static Tensor map(Path file, long offset, DType dtype, Shape shape) throws IOException {
        long bytes = bytes("map", dtype, shape);
        long size = Files.size(file);
        if (offset < 0 || bytes > size || offset > size - bytes) {
            throw new ShapeException("map: " + dtype + shape + " takes " + bytes + " bytes from " + offset + " on, but "
                    + file + " has " + size);
        }
        if (offset % dtype.byteSize() != 0) {
            throw new ShapeException("map: a " + dtype + " at byte " + offset + " of " + file
                    + " is not aligned to its size\n  fix: read it.");
        }
        if (bytes == 0) {
            return Tensor.zeros(shape, dtype, Device.CPU);
        }
        Mapping mapping = allocator().map(file, offset, bytes);
        if (mapping == null) {
            throw new DeviceException(Message.of("map: this system cannot map " + bytes + " bytes of " + file)
                    .fact("why", "without native code only files that may be written, and up to 2 GiB at once")
                    .fix("read it."));
        }
        return over("map", mapping.segment(), dtype, shape, null, mapping.unmap());
    }

    private static CachingAllocator allocator() {
        return BackendChoice.allocator(Device.CPU);
    }

    private static long bytes(String what, DType dtype, Shape shape) {
        if (dtype == DType.BOOL) {
            throw new DTypeException(
                    Message.of(what + ": kernels take the bytes of a bool as they are, and they must be 0 or" + " 1")
                            .fix("take them as UINT8, and ne(0)."));
        }
        try {
            return Math.multiplyExact(shape.numel(), (long) dtype.byteSize());
        } catch (ArithmeticException e) {
            throw new ShapeException(what + ": " + dtype + shape + " takes more than 2^63 bytes");
        }
    }

    private static Tensor over(
            String what, Segment segment, DType dtype, Shape shape, @Nullable Object owner, Runnable release) {
        if (segment.address() % dtype.byteSize() != 0) {
            throw new ShapeException(Message.of(what + ": address 0x" + Long.toHexString(segment.address())
                            + " is not aligned to " + dtype + ", " + dtype.byteSize() + " bytes")
                    .fix("copy it."));
        }
        Storage storage = Storage.foreign(allocator(), segment, owner, release);
        return Tensor.over(storage, Layout.contiguous(shape), dtype).joinScope(Context.current());
    }
}
