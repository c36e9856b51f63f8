// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.types.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * How numbers lie in files, named as safetensors names them, and the dtype that they are read into: what has no dtype of
 * its own is widened, exactly.
 */
enum FileNumber {
    F64(8, DType.FLOAT64, "f8"),
    F32(4, DType.FLOAT32, "f4"),
    F16(2, DType.FLOAT16, "f2"),
    BF16(2, DType.BFLOAT16, ""),
    I64(8, DType.INT64, "i8"),
    I32(4, DType.INT32, "i4"),
    I16(2, DType.INT16, "i2"),
    I8(1, DType.INT8, "i1"),
    U64(8, DType.INT64, "u8"),
    U32(4, DType.INT64, "u4"),
    U16(2, DType.INT32, "u2"),
    U8(1, DType.UINT8, "u1"),
    BOOL(1, DType.BOOL, "b1");

    private static final Map<String, FileNumber> NAMES = new TreeMap<>();
    private static final Map<String, FileNumber> NUMPY = new TreeMap<>(Map.of("?", BOOL));

    static {
        for (FileNumber n : values()) {
            NAMES.put(n.name(), n);
            if (!n.numpy.isEmpty()) {
                NUMPY.put(n.numpy, n);
            }
        }
    }

    final int byteSize;
    final DType dtype;

    /** NumPy's letter and width, without byte order; empty where NumPy has no such type. */
    final String numpy;

    FileNumber(int byteSize, DType dtype, String numpy) {
        this.byteSize = byteSize;
        this.dtype = dtype;
        this.numpy = numpy;
    }

    /** The one that a dtype is written as. */
    static FileNumber of(DType dtype) {
        for (FileNumber n : values()) {
            if (n.dtype == dtype && n.byteSize == dtype.byteSize() && n != U64) {
                return n;
            }
        }
        throw new IllegalStateException(dtype + " has no form in files; please report this");
    }

    /** By the name that safetensors has for it; null for others. */
    static @Nullable FileNumber named(String name) {
        return NAMES.get(name);
    }

    /** By NumPy's letter and width ({@code f4}, {@code ?}); null for others. */
    static @Nullable FileNumber numpy(String code) {
        return NUMPY.get(code);
    }

    /** Whether the bytes of the file are those of the tensor, but for bools, which may be any byte. */
    boolean isDirect(ByteOrder order) {
        return this != U64 && byteSize == dtype.byteSize() && (byteSize == 1 || order == ByteOrder.LITTLE_ENDIAN);
    }

    /** Converts all that remains in {@code from}, in its byte order, to elements of {@link #dtype}. */
    void convert(ByteBuffer from, ByteBuffer to) throws FormatException {
        while (from.hasRemaining()) {
            switch (this) {
                case F64, I64 -> to.putLong(from.getLong());
                case F32, I32 -> to.putInt(from.getInt());
                case F16, BF16, I16 -> to.putShort(from.getShort());
                case U64 -> to.putLong(signed(from.getLong()));
                case U32 -> to.putLong(from.getInt() & 0xffffffffL);
                case U16 -> to.putInt(from.getShort() & 0xffff);
                case U8, I8 -> to.put(from.get());
                case BOOL -> to.put((byte) (from.get() != 0 ? 1 : 0));
            }
        }
    }

    private static long signed(long unsigned) throws FormatException {
        if (unsigned < 0) {
            throw new FormatException("holds " + Long.toUnsignedString(unsigned)
                    + ", an unsigned number of 64 bits that int64 does not hold");
        }
        return unsigned;
    }
}
