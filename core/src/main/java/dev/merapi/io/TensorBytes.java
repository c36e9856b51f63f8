// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;

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
            if (isVisible(flat)) {
                writeFully(flat, file);
                return;
            }
            for (long i = 0; i < flat.numel(); i += PIECE) {
                try (Scope piece = Scope.open()) {
                    Tensor part = flat.slice(0, i, Math.min(i + PIECE, flat.numel()));
                    Tensor seen = part.device() == Device.CPU
                            ? TENSORS.allocate(part.shape(), part.dtype(), Device.CPU)
                                    .copy_(part)
                            : part.contiguous().to(Device.CPU);
                    writeFully(seen, file);
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
        Tensor result = TENSORS.allocate(shape, type.dtype, Device.CPU);
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            boolean direct = isVisible(result);
            Tensor flat = result.view(result.numel());
            Tensor staging = direct ? flat : TENSORS.allocate(Shape.of(PIECE), type.dtype, Device.CPU);
            for (long i = 0; i < flat.numel(); i += PIECE) {
                int n = (int) Math.min(PIECE, flat.numel() - i);
                fill(source, staging, direct ? (int) i : 0, n, type, order);
                if (!direct) {
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

    /** Fills {@code count} elements of a contiguous tensor, from the one with index {@code first} on. */
    private static void fill(ByteSource source, Tensor to, int first, int count, FileNumber type, ByteOrder order)
            throws IOException {
        int width = type.dtype.byteSize();
        Elements.of(to).withBytes(whole -> {
            ByteBuffer b = whole.position(first * width).limit((first + count) * width);
            if (!type.isDirect(order)) {
                ByteBuffer raw = ByteBuffer.allocate(count * type.byteSize);
                source.readFully(raw);
                type.convert(raw.flip().order(order), b);
                return;
            }
            source.readFully(b);
            if (type == FileNumber.BOOL) {
                // Kernels take the bytes of a bool as they are: anything but 0 and 1 is undefined behaviour in C++.
                for (int i = first; i < b.limit(); i++) {
                    b.put(i, (byte) (b.get(i) != 0 ? 1 : 0));
                }
            }
        });
    }

    /** Whether Java sees the memory of a CPU tensor. */
    private static boolean isVisible(Tensor t) {
        return t.device() == Device.CPU && TENSORS.storage(t).isJavaVisible();
    }

    private static void writeFully(Tensor t, WritableByteChannel file) throws IOException {
        Elements.of(t).withBytes(b -> {
            while (b.hasRemaining()) {
                file.write(b);
            }
        });
    }

    private static void requireLittleEndian() {
        if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
            throw new IllegalStateException("tensor files are little-endian, and this machine is not");
        }
    }
}
