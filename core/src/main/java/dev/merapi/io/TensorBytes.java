// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import org.jspecify.annotations.Nullable;

/**
 * The bytes of a tensor, row-major, between its memory and a file: without a copy on the way where Java sees the memory and
 * the file has the same form, else in pieces.
 */
final class TensorBytes {
    /** Elements of a piece. */
    private static final long PIECE = 1 << 20;

    private TensorBytes() {}

    /** Appends all elements, little-endian, whatever the layout and the device. */
    static void write(Tensor t, WritableByteChannel file) throws IOException {
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
                    writeFully(seen, required(seen), file);
                }
            }
        }
    }

    /**
     * A fresh CPU tensor filled from a source. The caller has held the claimed shape against the size of the file; what
     * the file lacks nevertheless is told by a {@link FormatException}.
     */
    static Tensor read(ByteSource source, Shape shape, FileNumber type, ByteOrder order) throws IOException {
        requireLittleEndian();
        Tensor result = Tensor.allocate(shape, type.dtype, Device.CPU);
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            ByteBuffer whole = bytes(result);
            Tensor flat = result.view(result.numel());
            Tensor staging = whole == null ? Tensor.allocate(Shape.of(PIECE), type.dtype, Device.CPU) : flat;
            for (long i = 0; i < flat.numel(); i += PIECE) {
                int n = (int) Math.min(PIECE, flat.numel() - i);
                int width = type.dtype.byteSize();
                ByteBuffer to = whole == null
                        ? required(staging).limit(n * width)
                        : whole.position((int) i * width).limit(((int) i + n) * width);
                fill(source, staging, to, type, order);
                if (whole == null) {
                    try (Scope piece = Scope.open()) {
                        flat.slice(0, i, i + n).copy_(staging.slice(0, 0, n));
                    }
                }
            }
            return result;
        } catch (IOException | RuntimeException e) {
            result.close();
            throw e;
        }
    }

    private static void fill(ByteSource source, Tensor owner, ByteBuffer to, FileNumber type, ByteOrder order)
            throws IOException {
        protect(owner, to, b -> {
            int start = b.position();
            if (!type.isDirect(order)) {
                ByteBuffer raw = ByteBuffer.allocate(b.remaining() / type.dtype.byteSize() * type.byteSize);
                source.readFully(raw);
                type.convert(raw.flip().order(order), b);
                return;
            }
            source.readFully(b);
            if (type == FileNumber.BOOL) {
                // Kernels take the bytes of a bool as they are: anything but 0 and 1 is undefined behaviour in C++.
                for (int i = start; i < b.limit(); i++) {
                    b.put(i, (byte) (b.get(i) != 0 ? 1 : 0));
                }
            }
        });
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
                .slice(e.byteOffset(), Math.toIntExact(t.numel() * t.dtype().byteSize()))
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    private static ByteBuffer required(Tensor t) {
        ByteBuffer bytes = bytes(t);
        if (bytes == null) {
            throw new IllegalStateException("a piece of " + t.describe() + " has no Java view; please report this");
        }
        return bytes;
    }

    private static void writeFully(Tensor owner, ByteBuffer bytes, WritableByteChannel file) throws IOException {
        protect(owner, bytes, b -> {
            while (b.hasRemaining()) {
                file.write(b);
            }
        });
    }

    private interface Transfer {
        void run(ByteBuffer bytes) throws IOException;
    }

    /** Nobody frees the memory while it is being copied, not even the collector. */
    private static void protect(Tensor owner, ByteBuffer bytes, Transfer transfer) throws IOException {
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
