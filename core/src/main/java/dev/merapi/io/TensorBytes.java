// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import org.jspecify.annotations.Nullable;

/**
 * The bytes of a tensor, row-major and little-endian, between its memory and a file: without a copy on the way where Java
 * sees the memory, else in pieces through memory that it sees.
 */
final class TensorBytes {
    /** Elements of a piece. */
    private static final long PIECE = 1 << 22;

    private TensorBytes() {}

    /** Appends all elements, whatever the layout and the device. */
    static void write(Tensor t, FileChannel file) throws IOException {
        requireLittleEndian();
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            Tensor flat = t.detach().contiguous().reshape(t.numel());
            ByteBuffer whole = bytes(flat);
            if (whole != null) {
                writeFully(flat, whole, file);
                return;
            }
            for (long i = 0; i < flat.numel(); i += PIECE) {
                try (Scope piece = Scope.open()) {
                    Tensor part = flat.slice(0, i, Math.min(i + PIECE, flat.numel()));
                    Tensor seen = part.device() == Device.CPU
                            ? Tensor.allocate(part.shape(), part.dtype(), Device.CPU)
                                    .copy_(part)
                            : part.contiguous().to(Device.CPU);
                    writeFully(seen, bytes(seen), file);
                }
            }
        }
    }

    /** A fresh CPU tensor filled from {@code position} on; the caller has checked that the bytes are there. */
    static Tensor read(FileChannel file, long position, Shape shape, DType dtype) throws IOException {
        requireLittleEndian();
        Tensor result = Tensor.allocate(shape, dtype, Device.CPU);
        try {
            ByteBuffer whole = bytes(result);
            if (whole != null) {
                readFully(result, whole, file, position);
            } else {
                readPieces(result, file, position);
            }
            return result;
        } catch (IOException | RuntimeException e) {
            result.close();
            throw e;
        }
    }

    private static void readPieces(Tensor result, FileChannel file, long position) throws IOException {
        try (Scope scope = Scope.open()) {
            Tensor flat = result.view(result.numel());
            Tensor seen = Tensor.allocate(Shape.of(PIECE), result.dtype(), Device.CPU);
            for (long i = 0; i < flat.numel(); i += PIECE) {
                try (Scope piece = Scope.open()) {
                    long n = Math.min(PIECE, flat.numel() - i);
                    Tensor part = seen.slice(0, 0, n);
                    readFully(
                            part,
                            bytes(part),
                            file,
                            position + i * result.dtype().byteSize());
                    flat.slice(0, i, i + n).copy_(part);
                }
            }
        }
    }

    /** The memory of a contiguous CPU tensor as Java sees it, or null. */
    private static @Nullable ByteBuffer bytes(Tensor t) {
        if (t.numel() == 0) {
            return ByteBuffer.allocate(0);
        }
        if (t.device() != Device.CPU || t.storage().buffer() == null) {
            return null;
        }
        Elements e = Elements.of(t);
        return e.buffer()
                .slice(e.byteOffset(), Math.toIntExact(t.numel() * t.dtype().byteSize()));
    }

    private static void writeFully(Tensor owner, @Nullable ByteBuffer bytes, FileChannel file) throws IOException {
        protect(owner, bytes, b -> {
            while (b.hasRemaining()) {
                file.write(b);
            }
        });
    }

    private static void readFully(Tensor owner, @Nullable ByteBuffer bytes, FileChannel file, long position)
            throws IOException {
        protect(owner, bytes, b -> {
            while (b.hasRemaining()) {
                if (file.read(b, position + b.position()) < 0) {
                    throw new EOFException("the file ended while it was being read: another process has cut it");
                }
            }
            if (owner.dtype() == DType.BOOL) {
                requireBits(b);
            }
        });
    }

    /** Kernels take the bytes of a bool as they are: anything but 0 and 1 would be undefined behaviour in C++. */
    private static void requireBits(ByteBuffer bytes) throws FormatException {
        for (int i = 0; i < bytes.limit(); i++) {
            if ((bytes.get(i) & ~1) != 0) {
                throw new FormatException(
                        "a bool tensor holds a byte " + (bytes.get(i) & 0xff) + ", which is not 0 or 1");
            }
        }
    }

    private interface Transfer {
        void run(ByteBuffer bytes) throws IOException;
    }

    /** Nobody frees the memory while it is being copied, not even the collector. */
    private static void protect(Tensor owner, @Nullable ByteBuffer bytes, Transfer transfer) throws IOException {
        if (bytes == null) {
            throw new IllegalStateException("a piece of " + owner.describe() + " has no Java view; please report this");
        }
        Context context = Context.current();
        context.memory().enter();
        try {
            transfer.run(bytes);
        } finally {
            context.memory().exit();
            java.lang.ref.Reference.reachabilityFence(owner);
        }
    }

    private static void requireLittleEndian() {
        if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
            throw new UnsupportedOperationException("tensor files are little-endian, and this machine is not");
        }
    }
}
