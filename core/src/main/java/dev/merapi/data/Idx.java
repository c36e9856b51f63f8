// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.error.ShapeException;
import dev.merapi.io.FormatException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Reads the IDX files of MNIST and its successors, plain or gzipped: uint8, int32, float32 and float64. Memory grows with
 * what the file holds, never with what its header claims.
 */
public final class Idx {
    /** Where arrays of bytes end. */
    private static final long LARGEST = Integer.MAX_VALUE - 16;

    private Idx() {}

    /**
     * Reads one tensor into CPU memory.
     *
     * @throws FormatException if the file is damaged, cut off or of another format
     */
    public static Tensor read(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            return read(in, file.toString());
        }
    }

    /** As {@link #read(Path)}; {@code name} is for error messages. The stream is read to its end and not closed. */
    public static Tensor read(InputStream source, String name) throws IOException {
        try {
            BufferedInputStream in = new BufferedInputStream(source);
            in.mark(2);
            boolean zipped = in.read() == 0x1f && in.read() == 0x8b;
            in.reset();
            return parse(zipped ? new GZIPInputStream(in, 1 << 16) : in);
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
        DType dtype = dtype(magic[2] & 0xff);
        int rank = magic[3] & 0xff;
        ByteBuffer sizes = ByteBuffer.wrap(in.readNBytes(4 * rank));
        if (sizes.remaining() < 4 * rank) {
            throw new FormatException("the file ends within the sizes of its " + rank + " dimensions");
        }
        long[] shape = new long[rank];
        for (int d = 0; d < rank; d++) {
            shape[d] = sizes.getInt() & 0xffffffffL;
        }
        long count = count(shape);
        if (count > LARGEST / dtype.byteSize()) {
            throw new FormatException(dtype + java.util.Arrays.toString(shape)
                    + " would take more than 2 GiB, which this reader does not read");
        }
        int bytes = (int) count * dtype.byteSize();
        byte[] data = in.readNBytes(bytes); // grows with what is there
        if (data.length < bytes) {
            throw new FormatException(dtype + java.util.Arrays.toString(shape) + " takes " + bytes
                    + " bytes, but the file ends after " + data.length);
        }
        if (in.read() >= 0) {
            throw new FormatException(
                    "data follows the " + bytes + " bytes of " + dtype + java.util.Arrays.toString(shape));
        }
        return tensor(dtype, data, shape);
    }

    private static long count(long[] shape) throws FormatException {
        try {
            return Shape.of(shape).numel();
        } catch (ShapeException e) {
            throw new FormatException(String.valueOf(e.getMessage()), e);
        }
    }

    private static DType dtype(int code) throws FormatException {
        return switch (code) {
            case 0x08 -> DType.UINT8;
            case 0x0c -> DType.INT32;
            case 0x0d -> DType.FLOAT32;
            case 0x0e -> DType.FLOAT64;
            default ->
                throw new FormatException("element type 0x" + Integer.toHexString(code)
                        + " is not one of uint8 (0x8), int32 (0xc), float32 (0xd), float64 (0xe)");
        };
    }

    /** The elements are big-endian. */
    private static Tensor tensor(DType dtype, byte[] data, long[] shape) {
        ByteBuffer b = ByteBuffer.wrap(data);
        switch (dtype) {
            case INT32 -> {
                int[] values = new int[data.length / 4];
                b.asIntBuffer().get(values);
                return Tensor.of(values, shape);
            }
            case FLOAT32 -> {
                float[] values = new float[data.length / 4];
                b.asFloatBuffer().get(values);
                return Tensor.of(values, shape);
            }
            case FLOAT64 -> {
                double[] values = new double[data.length / 8];
                b.asDoubleBuffer().get(values);
                return Tensor.of(values, shape);
            }
            default -> {
                return Tensor.of(data, shape);
            }
        }
    }
}
