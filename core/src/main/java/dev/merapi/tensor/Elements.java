// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.ShapeException;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import dev.merapi.types.SmallFloat;
import java.nio.ByteBuffer;

/**
 * The elements of a tensor as Java reads and writes them, by position in the storage ({@code *At}) or by row-major index.
 * For Java kernels; memory that Java sees only. What lies outside of the tensor is refused by an
 * {@link IndexOutOfBoundsException}: behind it begins the memory of another.
 */
public final class Elements {
    private final ByteBuffer buffer;
    private final int base;
    private final DType dtype;
    private final Layout layout;
    private final boolean contiguous;
    private final long reach; // positions from 0 up to, not including, this one are the tensor's

    private Elements(ByteBuffer buffer, int base, DType dtype, Layout layout) {
        this.buffer = buffer;
        this.base = base;
        this.dtype = dtype;
        this.layout = layout;
        this.contiguous = layout.isContiguous();
        this.reach = layout.numel() == 0 ? 0 : layout.end() - layout.offset();
    }

    /** @throws ShapeException if the memory has no Java view: device memory, and segments above 2 GiB */
    public static Elements of(Tensor t) {
        ByteBuffer buffer = t.storage().buffer();
        if (buffer == null) {
            throw new ShapeException("elements: Java cannot see the memory of " + t.describe());
        }
        int base = t.storage().bufferOffset()
                + (int) (t.layout().offset() * t.dtype().byteSize());
        return new Elements(buffer, base, t.dtype(), t.layout());
    }

    public DType dtype() {
        return dtype;
    }

    public long numel() {
        return layout.numel();
    }

    /**
     * Distance, in elements from the first one, of the element with row-major index {@code i}.
     *
     * @throws IndexOutOfBoundsException if there is none, at the latest when it is read or written
     */
    public long position(long i) {
        if (contiguous) {
            return i;
        }
        long position = 0;
        long rest = i;
        for (int d = layout.rank() - 1; d >= 0; d--) {
            long size = layout.size(d);
            position += rest % size * layout.stride(d);
            rest /= size;
        }
        if (rest != 0 || position < 0) {
            throw outside(i);
        }
        return position;
    }

    private int at(long position) {
        if (position < 0 || position >= reach) {
            throw outside(position);
        }
        return base + (int) position * dtype.byteSize();
    }

    private IndexOutOfBoundsException outside(long index) {
        return new IndexOutOfBoundsException("element " + index + " is outside of " + dtype + layout);
    }

    public double getDouble(long i) {
        return doubleAt(position(i));
    }

    public long getLong(long i) {
        return longAt(position(i));
    }

    public void setDouble(long i, double value) {
        setDoubleAt(position(i), value);
    }

    public void setLong(long i, long value) {
        setLongAt(position(i), value);
    }

    /** The element at a position; integers and bool convert. */
    public double doubleAt(long position) {
        int at = at(position);
        return switch (dtype) {
            case FLOAT32 -> buffer.getFloat(at);
            case FLOAT64 -> buffer.getDouble(at);
            case FLOAT16 -> SmallFloat.halfToFloat(buffer.getShort(at));
            case BFLOAT16 -> SmallFloat.bfloatToFloat(buffer.getShort(at));
            case INT32 -> buffer.getInt(at);
            case INT64 -> buffer.getLong(at);
            case UINT8 -> buffer.get(at) & 0xff;
            case BOOL -> buffer.get(at) != 0 ? 1 : 0;
        };
    }

    /** The element at a position; floats are cut towards zero. */
    public long longAt(long position) {
        int at = at(position);
        return switch (dtype) {
            case INT32 -> buffer.getInt(at);
            case INT64 -> buffer.getLong(at);
            case UINT8 -> buffer.get(at) & 0xff;
            case BOOL -> buffer.get(at) != 0 ? 1 : 0;
            default -> (long) doubleAt(position);
        };
    }

    /** Stores a value, rounded once to the dtype; to bool, as different from 0. */
    public void setDoubleAt(long position, double value) {
        int at = at(position);
        switch (dtype) {
            case FLOAT32 -> buffer.putFloat(at, (float) value);
            case FLOAT64 -> buffer.putDouble(at, value);
            case FLOAT16 -> buffer.putShort(at, SmallFloat.floatToHalf((float) SmallFloat.round(value, dtype)));
            case BFLOAT16 -> buffer.putShort(at, SmallFloat.floatToBfloat((float) SmallFloat.round(value, dtype)));
            case BOOL -> buffer.put(at, (byte) (value != 0 ? 1 : 0));
            default -> setLongAt(position, (long) value);
        }
    }

    /** Stores a value; integers keep the low bits. */
    public void setLongAt(long position, long value) {
        int at = at(position);
        switch (dtype) {
            case INT32 -> buffer.putInt(at, (int) value);
            case INT64 -> buffer.putLong(at, value);
            case UINT8 -> buffer.put(at, (byte) value);
            case BOOL -> buffer.put(at, (byte) (value != 0 ? 1 : 0));
            default -> setDoubleAt(position, value);
        }
    }

    /** A copy of the bytes in row-major order. */
    public static byte[] bytes(Tensor t) {
        int width = t.dtype().byteSize();
        byte[] result = new byte[Math.toIntExact(Math.multiplyExact(t.numel(), width))];
        if (result.length == 0) {
            return result;
        }
        Elements e = of(t);
        if (e.contiguous) {
            e.buffer.get(e.base, result);
            return result;
        }
        for (long i = 0; i < t.numel(); i++) {
            e.buffer.get(e.base + (int) e.position(i) * width, result, (int) i * width, width);
        }
        return result;
    }

    /** Copies the bytes of one contiguous tensor to another of the same size. */
    public static void copyBytes(Tensor from, Tensor to) {
        Elements a = of(from);
        Elements b = of(to);
        int n = Math.toIntExact(from.numel() * from.dtype().byteSize());
        b.buffer.put(b.base, a.buffer, a.base, n);
    }

    /** Sets every byte of a contiguous tensor: garbage that a test can tell from a result. */
    public static void fillBytes(Tensor t, byte value) {
        byte[] bytes =
                new byte[Math.toIntExact(Math.multiplyExact(t.numel(), t.dtype().byteSize()))];
        java.util.Arrays.fill(bytes, value);
        if (bytes.length > 0) {
            setBytes(t, bytes);
        }
    }

    /** Fills a contiguous tensor from bytes in row-major order. */
    static void setBytes(Tensor t, byte[] bytes) {
        Elements e = of(t);
        e.buffer.put(e.base, bytes);
    }

    /** The buffer and the byte offset of the first element, for bulk access to contiguous tensors. */
    public ByteBuffer buffer() {
        return buffer;
    }

    public int byteOffset() {
        return base;
    }
}
