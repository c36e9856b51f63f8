// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** One tensor in a file of NumPy's format, versions 1 to 3, little-endian; arrays in Fortran order are transposed. */
public final class Npy {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
    private static final int LARGEST_HEADER = 1 << 16;

    /** The header is a Python dictionary, and NumPy writes it in one way only. */
    private static final Pattern HEADER = Pattern.compile(
            "\\{'descr': '([^']{1,16})', 'fortran_order': (True|False), " + "'shape': \\(([0-9, ]*+)\\),? ?\\}\\s*+");

    private Npy() {}

    /**
     * Writes a tensor of any device and layout.
     *
     * @throws DTypeException for bfloat16, which NumPy does not have
     */
    public static void save(Path file, Tensor t) throws IOException {
        StringBuilder header =
                new StringBuilder("{'descr': '" + descr(t.dtype()) + "', 'fortran_order': False, 'shape': (");
        for (long size : t.shape().toArray()) {
            header.append(size).append(", ");
        }
        if (t.rank() > 1) {
            header.setLength(header.length() - 2);
        } else if (t.rank() == 1) {
            header.setLength(header.length() - 1);
        }
        header.append("), }");
        while ((MAGIC.length + 4 + header.length() + 1) % 64 != 0) {
            header.append(' ');
        }
        byte[] text = header.append('\n').toString().getBytes(StandardCharsets.US_ASCII);
        if (text.length > 0xffff) {
            throw new ShapeException("npy: " + t.describe() + " has too many dimensions for the format");
        }
        AtomicFile.write(file, channel -> {
            ByteBuffer start =
                    ByteBuffer.allocate(MAGIC.length + 4 + text.length).order(ByteOrder.LITTLE_ENDIAN);
            start.put(MAGIC)
                    .put((byte) 1)
                    .put((byte) 0)
                    .putShort((short) text.length)
                    .put(text)
                    .flip();
            while (start.hasRemaining()) {
                channel.write(start);
            }
            TensorBytes.write(t, channel);
        });
    }

    private static String descr(DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> "<f4";
            case FLOAT64 -> "<f8";
            case FLOAT16 -> "<f2";
            case INT32 -> "<i4";
            case INT64 -> "<i8";
            case UINT8 -> "|u1";
            case BOOL -> "|b1";
            case BFLOAT16 -> throw new DTypeException("npy: NumPy has no bfloat16\n  fix: t.to(DType.FLOAT32).");
        };
    }

    /**
     * Reads into fresh CPU memory.
     *
     * @throws FormatException if the file is damaged, cut off, or holds what there is no dtype for
     */
    public static Tensor load(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return read(channel);
        } catch (FormatException e) {
            throw new FormatException("npy: " + file + ": " + e.getMessage(), e);
        }
    }

    private static Tensor read(FileChannel channel) throws IOException {
        long size = channel.size();
        ByteBuffer start = bytes(channel, 0, (int) Math.min(size, 12));
        byte[] magic = new byte[Math.min(MAGIC.length, start.remaining())];
        start.get(magic);
        if (start.remaining() < 4 || !Arrays.equals(magic, MAGIC)) {
            throw new FormatException("this is not an npy file");
        }
        int version = start.get();
        start.get();
        if (version < 1 || version > 3 || version > 1 && start.remaining() < 4) {
            throw new FormatException("version " + version + " of the format is not known, or the file is cut off");
        }
        long length = version == 1 ? start.getShort() & 0xffff : start.getInt() & 0xffffffffL;
        long dataStart = start.position() + length;
        if (length > LARGEST_HEADER || dataStart > size) {
            throw new FormatException("the header would have " + length + " bytes in a file of " + size);
        }
        String text = StandardCharsets.UTF_8
                .decode(bytes(channel, start.position(), (int) length))
                .toString();
        Matcher m = HEADER.matcher(text);
        if (!m.matches()) {
            throw new FormatException("header not understood: " + text.strip());
        }
        DType dtype = dtype(m.group(1));
        long[] sizes = sizes(m.group(3));
        boolean fortran = m.group(2).equals("True");
        Shape shape = shape(fortran ? reversed(sizes) : sizes);
        long room = size - dataStart;
        if (Math.multiplyHigh(shape.numel(), dtype.byteSize()) != 0 || shape.numel() * dtype.byteSize() != room) {
            throw new FormatException(dtype + Arrays.toString(sizes) + " takes " + shape.numel() + " times "
                    + dtype.byteSize() + " bytes, but " + room + " follow the header");
        }
        Tensor t = TensorBytes.read(channel, dataStart, shape, dtype);
        return fortran && sizes.length > 1 ? Scope.scoped(() -> transposed(t)) : t;
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

    private static DType dtype(String descr) throws FormatException {
        return switch (descr) {
            case "<f4" -> DType.FLOAT32;
            case "<f8" -> DType.FLOAT64;
            case "<f2" -> DType.FLOAT16;
            case "<i4" -> DType.INT32;
            case "<i8" -> DType.INT64;
            case "|u1" -> DType.UINT8;
            case "|b1" -> DType.BOOL;
            default -> throw new FormatException("there is no dtype for NumPy's '" + descr + "'");
        };
    }

    private static Shape shape(long[] sizes) throws FormatException {
        try {
            return Shape.of(sizes);
        } catch (ShapeException e) {
            throw new FormatException(String.valueOf(e.getMessage()), e);
        }
    }

    private static long[] sizes(String text) throws FormatException {
        String[] parts = text.isEmpty()
                ? new String[0]
                : text.replaceFirst("(?<=[0-9]),$", "").split(", ?", -1);
        long[] sizes = new long[parts.length];
        for (int i = 0; i < sizes.length; i++) {
            try {
                sizes[i] = Long.parseLong(parts[i]);
            } catch (NumberFormatException e) {
                throw new FormatException("'" + parts[i] + "' is not a size", e);
            }
        }
        return sizes;
    }

    private static long[] reversed(long[] sizes) {
        long[] result = new long[sizes.length];
        for (int i = 0; i < sizes.length; i++) {
            result[i] = sizes[sizes.length - 1 - i];
        }
        return result;
    }

    private static ByteBuffer bytes(FileChannel channel, long position, int count) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining()) {
            if (channel.read(bytes, position + bytes.position()) < 0) {
                throw new FormatException("the file ended while it was being read");
            }
        }
        return bytes.flip();
    }
}
