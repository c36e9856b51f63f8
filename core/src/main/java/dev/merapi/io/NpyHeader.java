// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What stands before the numbers of an npy file: a magic word, a version, and a dictionary as Python writes it, with its
 * keys in any order, any quotes and any spacing, since not only NumPy writes such files.
 *
 * @param type how the numbers lie in the file
 * @param fortran whether the first dimension is the innermost
 * @param sizes of the array, as NumPy counts dimensions
 */
record NpyHeader(FileNumber type, ByteOrder order, boolean fortran, long[] sizes) {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
    private static final int LARGEST = 1 << 16;
    private static final int MOST_DIMENSIONS = 64;

    /** The bytes that a tensor's file begins with; a multiple of 64, so that the numbers are aligned. */
    static byte[] of(Tensor t) {
        if (t.dtype() == DType.BFLOAT16) {
            throw new DTypeException("npy: NumPy has no bfloat16\n  fix: t.to(DType.FLOAT32).");
        }
        if (t.rank() > MOST_DIMENSIONS) {
            throw new ShapeException("npy: " + t.describe() + " has more than " + MOST_DIMENSIONS
                    + " dimensions, which is NumPy's limit\n  fix: t.reshape(…) to fewer.");
        }
        FileNumber type = FileNumber.of(t.dtype());
        StringBuilder header = new StringBuilder("{'descr': '")
                .append(type.byteSize == 1 ? '|' : '<')
                .append(type.numpy)
                .append("', 'fortran_order': False, 'shape': (");
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
        return ByteBuffer.allocate(MAGIC.length + 4 + text.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(MAGIC)
                .put((byte) 1)
                .put((byte) 0)
                .putShort((short) text.length)
                .put(text)
                .array();
    }

    /**
     * Reads a header; the source then stands at the numbers.
     *
     * @param size bytes of the whole file
     * @throws FormatException if it is none, if there is no dtype for what it names, or if the sizes are not those of the file
     */
    static NpyHeader read(ByteSource source, long size) throws IOException {
        if (size < MAGIC.length + 4) {
            throw new FormatException("this is not an npy file: it has " + size + " bytes");
        }
        ByteBuffer start = next(source, MAGIC.length + 2);
        byte[] magic = new byte[MAGIC.length];
        start.get(magic);
        int version = start.get();
        if (!Arrays.equals(magic, MAGIC)) {
            throw new FormatException("this is not an npy file");
        }
        if (version < 1 || version > 3) {
            throw new FormatException("version " + version + " of the format is not known");
        }
        int wide = version == 1 ? 2 : 4;
        ByteBuffer word = next(source, wide);
        long length = version == 1 ? word.getShort() & 0xffff : word.getInt() & 0xffffffffL;
        long room = size - MAGIC.length - 2 - wide - length;
        if (length > LARGEST || room < 0) {
            throw new FormatException("the header would have " + length + " bytes in a file of " + size);
        }
        String text = StandardCharsets.UTF_8.decode(next(source, (int) length)).toString();
        NpyHeader header = new Parser(text).parse();
        long numel = header.shape().numel();
        if (Math.multiplyHigh(numel, header.type.byteSize) != 0 || numel * header.type.byteSize != room) {
            throw new FormatException(header.type.numpy + Arrays.toString(header.sizes) + " takes " + numel + " times "
                    + header.type.byteSize + " bytes, but " + room + " follow the header");
        }
        return header;
    }

    private static ByteBuffer next(ByteSource source, int count) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        source.readFully(bytes);
        return bytes.flip();
    }

    /** The shape in the order of the bytes: that of the transposed array if it lies in Fortran's order. */
    Shape shape() throws FormatException {
        long[] result = sizes.clone();
        if (fortran) {
            for (int i = 0; i < result.length; i++) {
                result[i] = sizes[result.length - 1 - i];
            }
        }
        try {
            return Shape.of(result);
        } catch (ShapeException e) {
            throw new FormatException(String.valueOf(e.getMessage()), e);
        }
    }

    /** As much of Python as such a dictionary has. */
    private static final class Parser extends TextCursor {
        Parser(String text) {
            super(text);
        }

        NpyHeader parse() throws FormatException {
            String descr = null;
            Boolean fortran = null;
            long[] sizes = null;
            expect('{');
            while (!take('}')) {
                String key = string();
                expect(':');
                if (key.equals("descr") && descr == null) {
                    descr = descr();
                } else if (key.equals("fortran_order") && fortran == null) {
                    fortran = bool();
                } else if (key.equals("shape") && sizes == null) {
                    sizes = tuple();
                } else {
                    throw error("key '" + key + "' is unknown, or there twice");
                }
                if (!take(',')) {
                    expect('}');
                    break;
                }
            }
            skipSpace();
            if (at < text.length() && text.charAt(at) != 0) { // some writers fill up with zeros
                throw error("text after the end");
            }
            if (descr == null || fortran == null || sizes == null) {
                throw error("descr, fortran_order and shape are needed");
            }
            char first = descr.isEmpty() ? '\0' : descr.charAt(0);
            boolean prefixed = "<>|=".indexOf(first) >= 0;
            FileNumber type = FileNumber.numpy(prefixed ? descr.substring(1) : descr);
            if (type == null || first == '|' && type.byteSize > 1) {
                throw new FormatException("there is no dtype for NumPy's '" + descr + "'");
            }
            return new NpyHeader(type, first == '>' ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN, fortran, sizes);
        }

        private String descr() throws FormatException {
            skipSpace();
            if (isAt('[')) {
                throw new FormatException("arrays of records have no dtype here: "
                        + text.substring(at, Math.min(text.length(), at + 60)).strip());
            }
            return string();
        }

        private boolean bool() throws FormatException {
            skipSpace();
            for (String word : new String[] {"True", "False", "1", "0"}) {
                if (text.startsWith(word, at)) {
                    at += word.length();
                    return word.equals("True") || word.equals("1");
                }
            }
            throw error("expected True or False");
        }

        private long[] tuple() throws FormatException {
            List<Long> sizes = new ArrayList<>();
            boolean list = take('[');
            char end = list ? ']' : ')';
            if (!list) {
                expect('(');
            }
            while (!take(end)) {
                if (sizes.size() == MOST_DIMENSIONS) {
                    throw error("more than " + MOST_DIMENSIONS + " dimensions");
                }
                sizes.add(size());
                if (!take(',')) {
                    expect(end);
                    break;
                }
            }
            return sizes.stream().mapToLong(Long::longValue).toArray();
        }

        private long size() throws FormatException {
            try {
                long size = Long.parseLong(digits());
                if (isAt('L')) { // a long of Python 2
                    at++;
                }
                return size;
            } catch (NumberFormatException e) {
                throw error("expected a size below 2^63");
            }
        }

        private String string() throws FormatException {
            skipSpace();
            if (isAt('u') || isAt('b')) { // Python 2 and 3
                at++;
            }
            char quote = at < text.length() ? text.charAt(at) : 0;
            int end = quote == '\'' || quote == '"' ? text.indexOf(quote, at + 1) : -1;
            if (end < 0) {
                throw error("expected a string");
            }
            String s = text.substring(at + 1, end);
            at = end + 1;
            return s;
        }

        @Override
        FormatException error(String what) {
            String shown = text.length() > 200 ? text.substring(0, 200) + "…" : text;
            return new FormatException(
                    "header not understood at character " + at + ": " + what + ", in " + shown.strip());
        }
    }
}
