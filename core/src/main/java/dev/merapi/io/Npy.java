// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.Objects;

/**
 * One tensor in a file of NumPy's format, versions 1 to 3, of either byte order; arrays in Fortran's order are transposed.
 *
 * <p>What has no dtype here is widened, exactly: uint16 to int32, uint32 and uint64 to int64. Bytes of bools
 * other than 0 are true, as in NumPy.
 *
 * @see <a href="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html">the format</a>
 */
public final class Npy {
    private Npy() {}

    /**
     * Writes a tensor of any device and layout; the file is replaced in one step when all is written.
     *
     * @param file what is written
     * @param t any shape; any dtype but bfloat16
     * @throws java.io.IOException if it cannot be written
     * @throws DTypeException for bfloat16, which NumPy does not have
     * @throws ShapeException for more than 64 dimensions, which NumPy does not have
     */
    public static void save(Path file, Tensor t) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(t, "t").requireOpen("npy", "t");
        byte[] header = NpyHeader.of(t);
        AtomicFile.write(file, channel -> write(header, t, channel));
    }

    static void write(byte[] header, Tensor t, WritableByteChannel channel) throws IOException {
        ByteBuffer start = ByteBuffer.wrap(header);
        while (start.hasRemaining()) {
            channel.write(start);
        }
        TensorBytes.write(t, channel);
    }

    /**
     * Reads into fresh CPU memory; the tensor belongs to the open scope, if there is one.
     *
     * @param file of format 1.0 to 3.0, either byte order and either memory order
     * @return a new tensor, row-major
     * @throws java.io.IOException if the file cannot be read
     * @throws FormatException if the file is damaged, cut off, or holds what there is no dtype for: text, objects,
     *     records, complex numbers, an unsigned number of 2^63 or more
     */
    public static Tensor load(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        try (SharedFile open = new SharedFile(file)) {
            return read(ByteSource.of(open, 0), open.size());
        } catch (FormatException e) {
            throw new FormatException("npy: " + file + ": " + e.getMessage(), e);
        }
    }

    /** @param size bytes of the whole array, header included */
    static Tensor read(ByteSource source, long size) throws IOException {
        NpyHeader header = NpyHeader.read(source, size);
        Shape shape = header.shape();
        Tensor t = TensorBytes.read(source, shape, header.type(), header.order());
        return header.fortran() && shape.rank() > 1 ? Scope.scoped(() -> transposed(t)) : t;
    }

    /** Takes over {@code t}. */
    private static Tensor transposed(Tensor t) {
        int[] order = new int[t.rank()];
        for (int d = 0; d < order.length; d++) {
            order[d] = order.length - 1 - d;
        }
        try (t) {
            return t.permute(order).copy();
        }
    }
}
