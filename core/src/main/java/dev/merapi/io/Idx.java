// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Reads the IDX files of MNIST and its successors, plain or gzipped: uint8, int8, int16, int32, float32
 * and float64. Memory grows with what the file holds, never with what its header claims.
 */
public final class Idx {
    /** Bytes that are believed before they are seen; beyond, an array is collected first. */
    private static final long BELIEVED = 64L << 20;
    /** Where arrays of bytes end. */
    private static final long LARGEST = Integer.MAX_VALUE - 16;

    private Idx() {}

    /**
     * Reads one tensor into CPU memory.
     *
     * @param file plain or gzip
     * @return a new tensor in the shape and dtype that the file says; big-endian numbers are turned over
     * @throws java.io.IOException if the file cannot be read
     * @throws FormatException if the file is damaged, cut off or of another format, or grows without measure when it is
     *     decompressed
     */
    public static Tensor read(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        try (InputStream in = Files.newInputStream(file)) {
            return read(in, file.toString());
        }
    }

    /**
     * As {@link #read(Path)}; {@code name} is for error messages. The stream is read to its end and not closed.
     *
     * @param source plain or gzip
     * @param name what messages call it
     * @return a new tensor
     * @throws java.io.IOException if it cannot be read
     */
    public static Tensor read(InputStream source, String name) throws IOException {
        Objects.requireNonNull(source, "source");
        try {
            Expansion.Counter counter = new Expansion.Counter(source);
            BufferedInputStream in = new BufferedInputStream(counter);
            in.mark(2);
            boolean zipped = in.read() == 0x1f && in.read() == 0x8b;
            in.reset();
            return parse(zipped ? new Expansion(new GZIPInputStream(in, 1 << 16), () -> counter.count) : in);
        } catch (FormatException e) {
            throw new FormatException("idx: " + name + ": " + e.getMessage(), e);
        } catch (EOFException | ZipException e) {
            throw new FormatException("idx: " + name + ": the compressed data is damaged or cut off", e);
        }
    }

    private static Tensor parse(InputStream in) throws IOException {
        byte[] magic = in.readNBytes(4);
        if (magic.length < 4 || magic[0] != 0 || magic[1] != 0) {
            throw new FormatException("this is not an IDX file: it does not begin with two zeros");
        }
        FileNumber type = type(magic[2] & 0xff);
        int rank = magic[3] & 0xff;
        ByteBuffer sizes = ByteBuffer.wrap(in.readNBytes(4 * rank));
        if (sizes.remaining() < 4 * rank) {
            throw new FormatException("the file ends within the sizes of its " + rank + " dimensions");
        }
        long[] dimensions = new long[rank];
        for (int d = 0; d < rank; d++) {
            dimensions[d] = sizes.getInt() & 0xffffffffL;
        }
        Shape shape = shape(dimensions);
        if (shape.numel() > LARGEST / type.byteSize) {
            throw new FormatException(type + Arrays.toString(dimensions)
                    + " would take more than 2 GiB, which this reader does not read");
        }
        int bytes = (int) shape.numel() * type.byteSize;
        InputStream numbers = in;
        if (bytes > BELIEVED) {
            byte[] data = in.readNBytes(bytes); // grows with what is there
            if (data.length < bytes) {
                throw new FormatException("the data is cut off: " + (bytes - data.length) + " more bytes were to come");
            }
            numbers = new ByteArrayInputStream(data);
        }
        Tensor t = TensorBytes.read(ByteSource.of(numbers), shape, type, ByteOrder.BIG_ENDIAN);
        if (in.read() >= 0) {
            t.close();
            throw new FormatException("data follows the " + bytes + " bytes of " + type + Arrays.toString(dimensions));
        }
        return t;
    }

    private static Shape shape(long[] sizes) throws FormatException {
        try {
            return Shape.of(sizes);
        } catch (ShapeException e) {
            throw new FormatException(String.valueOf(e.getMessage()), e);
        }
    }

    private static FileNumber type(int code) throws FormatException {
        return switch (code) {
            case 0x08 -> FileNumber.U8;
            case 0x09 -> FileNumber.I8;
            case 0x0b -> FileNumber.I16;
            case 0x0c -> FileNumber.I32;
            case 0x0d -> FileNumber.F32;
            case 0x0e -> FileNumber.F64;
            default ->
                throw new FormatException(
                        "element type 0x" + Integer.toHexString(code)
                                + " is not one of uint8 (0x8), int8 (0x9), int16 (0xb), int32 (0xc), float32 (0xd), float64 (0xe)");
        };
    }
}
