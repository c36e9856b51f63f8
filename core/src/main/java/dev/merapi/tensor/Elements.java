// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.ShapeException;
import dev.merapi.storage.Lease;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import dev.merapi.types.SmallFloat;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Objects;

/**
 * The elements of a tensor as Java reads and writes them, by position in the storage ({@code *At}) or by row-major index.
 * For Java kernels; memory that Java sees only. What lies outside of the tensor is refused by an
 * {@link IndexOutOfBoundsException}: behind it begins the memory of another. What is gone is refused by a
 * {@link ClosedTensorException}.
 *
 * <p>Within the kernel that made them, elements stay readable until it ends, whoever closes the tensor: looking at them
 * costs no check of that. Elsewhere, on another thread or after the kernel, each access makes sure that the memory is
 * there, and takes some ten times as long.
 */
public abstract sealed class Elements permits KernelElements, CheckedElements {
    final Storage storage;
    final ByteBuffer buffer;
    private final int base;
    private final DType dtype;
    private final Layout layout;
    private final boolean contiguous;
    private final long reach; // positions from 0 up to, not including, this one are the tensor's

    Elements(Storage storage, ByteBuffer buffer, int base, DType dtype, Layout layout) {
        this.storage = storage;
        this.buffer = buffer;
        this.base = base;
        this.dtype = dtype;
        this.layout = layout;
        this.contiguous = layout.isContiguous();
        this.reach = layout.numel() == 0 ? 0 : layout.end() - layout.offset();
    }

    Elements(Elements other) {
        this.storage = other.storage;
        this.buffer = other.buffer;
        this.base = other.base;
        this.dtype = other.dtype;
        this.layout = other.layout;
        this.contiguous = other.contiguous;
        this.reach = other.reach;
    }

    /**
     * The elements of a tensor of any layout; it is not copied.
     *
     * @param t a tensor with memory that Java sees
     * @return a view that stays valid while the memory is there
     * @throws ShapeException if the memory has no Java view: device memory, and segments above 2 GiB
     * @throws ClosedTensorException if the tensor is closed
     */
    public static Elements of(Tensor t) {
        Objects.requireNonNull(t, "t");
        t.requireOpen("elements", "t");
        Storage storage = t.storage();
        ByteBuffer buffer = storage.rawBuffer();
        if (buffer == null) {
            throw new ShapeException("elements: Java cannot see the memory of " + t.describe());
        }
        int base =
                storage.bufferOffset() + (int) (t.layout().offset() * t.dtype().byteSize());
        Lease lease = Context.current().memory().lease();
        return lease != null
                ? new KernelElements(storage, buffer, base, t.dtype(), t.layout(), lease)
                : new CheckedElements(storage, buffer, base, t.dtype(), t.layout());
    }

    /** {@return the tensor's dtype, in which values are stored} */
    public final DType dtype() {
        return dtype;
    }

    /** {@return how many elements the tensor has} */
    public final long numel() {
        return layout.numel();
    }

    /**
     * Distance, in elements from the first one, of the element with row-major index {@code i}.
     *
     * @param i row-major index, from 0 to {@code numel() - 1}
     * @return the distance; beyond {@code numel()} where this is a part of a larger tensor
     * @throws IndexOutOfBoundsException if there is none, at the latest when it is read or written
     */
    public final long position(long i) {
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
            throw beyond(i);
        }
        return position;
    }

    /** Where in the buffer the element at a position begins. */
    final int at(long position) {
        if (position < 0 || position >= reach) {
            throw beyond(position);
        }
        return base + (int) position * dtype.byteSize();
    }

    private IndexOutOfBoundsException beyond(long index) {
        return new IndexOutOfBoundsException("element " + index + " is outside of " + dtype + layout);
    }

    /**
     * The element with that index; integers and bool convert.
     *
     * @param i row-major index, from 0 to {@code numel() - 1}
     * @return the value, exact for all dtypes but int64 beyond 2⁵³
     */
    public abstract double getDouble(long i);

    /**
     * The element with that index; floats are cut towards zero.
     *
     * @param i row-major index, from 0 to {@code numel() - 1}
     * @return the value; beyond int64 it saturates, NaN gives 0
     */
    public abstract long getLong(long i);

    /**
     * Stores a value, rounded once to the dtype; to bool, as different from 0.
     *
     * @param i row-major index, from 0 to {@code numel() - 1}
     * @param value any number
     */
    public abstract void setDouble(long i, double value);

    /**
     * Stores a value; integers keep the low bits.
     *
     * @param i row-major index, from 0 to {@code numel() - 1}
     * @param value any number
     */
    public abstract void setLong(long i, long value);

    /**
     * As {@link #getDouble}, at a position.
     *
     * @param position what {@link #position} gave, or a sum of it with strides of the layout
     * @return the value
     */
    public abstract double doubleAt(long position);

    /**
     * As {@link #getLong}, at a position.
     *
     * @param position what {@link #position} gave, or a sum of it with strides of the layout
     * @return the value
     */
    public abstract long longAt(long position);

    /**
     * As {@link #setDouble}, at a position.
     *
     * @param position what {@link #position} gave, or a sum of it with strides of the layout
     * @param value any number
     */
    public abstract void setDoubleAt(long position, double value);

    /**
     * As {@link #setLong}, at a position.
     *
     * @param position what {@link #position} gave, or a sum of it with strides of the layout
     * @param value any number
     */
    public abstract void setLongAt(long position, long value);

    /** From here to {@code exit()} the memory stays: see Note [Epochs] in {@code Protection}. */
    final ThreadState enter() {
        ThreadState thread = Context.current().memory();
        thread.enter();
        try {
            storage.requireOpen();
            return thread;
        } catch (ClosedTensorException e) {
            thread.exit();
            throw e;
        }
    }

    final double readDouble(int at) {
        double value = switch (dtype) {
            case FLOAT32 -> buffer.getFloat(at);
            case FLOAT64 -> buffer.getDouble(at);
            case FLOAT16 -> SmallFloat.halfToFloat(buffer.getShort(at));
            case BFLOAT16 -> SmallFloat.bfloatToFloat(buffer.getShort(at));
            case INT32 -> buffer.getInt(at);
            case INT64 -> buffer.getLong(at);
            case INT16 -> buffer.getShort(at);
            case INT8 -> buffer.get(at);
            case UINT8 -> buffer.get(at) & 0xff;
            case BOOL -> buffer.get(at) != 0 ? 1 : 0;
        };
        Reference.reachabilityFence(storage);
        return value;
    }

    final long readLong(int at) {
        long value = switch (dtype) {
            case INT32 -> buffer.getInt(at);
            case INT64 -> buffer.getLong(at);
            case INT16 -> buffer.getShort(at);
            case INT8 -> buffer.get(at);
            case UINT8 -> buffer.get(at) & 0xff;
            case BOOL -> buffer.get(at) != 0 ? 1 : 0;
            default -> (long) readDouble(at);
        };
        Reference.reachabilityFence(storage);
        return value;
    }

    final void writeDouble(int at, double value) {
        switch (dtype) {
            case FLOAT32 -> buffer.putFloat(at, (float) value);
            case FLOAT64 -> buffer.putDouble(at, value);
            case FLOAT16 -> buffer.putShort(at, SmallFloat.floatToHalf((float) SmallFloat.round(value, dtype)));
            case BFLOAT16 -> buffer.putShort(at, SmallFloat.floatToBfloat((float) SmallFloat.round(value, dtype)));
            case BOOL -> buffer.put(at, (byte) (value != 0 ? 1 : 0));
            default -> writeLong(at, (long) value);
        }
        Reference.reachabilityFence(storage);
    }

    final void writeLong(int at, long value) {
        switch (dtype) {
            case INT32 -> buffer.putInt(at, (int) value);
            case INT64 -> buffer.putLong(at, value);
            case INT16 -> buffer.putShort(at, (short) value);
            case INT8, UINT8 -> buffer.put(at, (byte) value);
            case BOOL -> buffer.put(at, (byte) (value != 0 ? 1 : 0));
            default -> writeDouble(at, value);
        }
        Reference.reachabilityFence(storage);
    }

    // ---------------------------------------------------------------- many at once

    /**
     * Works on the memory of contiguous elements, from which nothing may be kept.
     *
     * @param <E> what is read and written
     */
    @FunctionalInterface
    public interface Access<E extends Exception> {
        /**
         * Works with the bytes, during this call only.
         *
         * @param bytes all elements in native byte order, from position 0 to the limit
         * @throws E what the work throws
         */
        void to(ByteBuffer bytes) throws E;
    }

    /**
     * Hands out the bytes of all elements as they lie in memory, in native byte order, and keeps them there meanwhile. For
     * contiguous tensors; the buffer is not valid afterwards. This costs less than {@link #buffer}, and keeps nothing.
     *
     * @param <E> what the work may throw
     * @param access what is done with the bytes
     * @throws E what {@code access} throws
     * @throws ClosedTensorException if the memory is gone
     */
    public final <E extends Exception> void withBytes(Access<E> access) throws E {
        Objects.requireNonNull(access, "access");
        if (!contiguous) {
            throw new ShapeException("elements: their bytes do not lie in a row in " + dtype + layout
                    + "\n  fix: take contiguous() first.");
        }
        int bytes = (int) (layout.numel() * dtype.byteSize());
        ThreadState thread = enter();
        try {
            access.to(buffer.slice(base, bytes).order(ByteOrder.nativeOrder()));
        } finally {
            thread.exit();
            Reference.reachabilityFence(storage);
        }
    }

    /**
     * A copy of the bytes in row-major order.
     *
     * @param t any layout, any device
     * @return a new array of numel · {@code dtype().byteSize()} bytes, in native byte order
     */
    public static byte[] bytes(Tensor t) {
        Objects.requireNonNull(t, "t");
        int width = t.dtype().byteSize();
        byte[] result = new byte[Math.toIntExact(Math.multiplyExact(t.numel(), width))];
        if (result.length == 0) {
            return result;
        }
        Elements e = of(t);
        if (e.contiguous) {
            e.withBytes(bytes -> bytes.get(result));
            return result;
        }
        ThreadState thread = e.enter();
        try {
            for (long i = 0; i < t.numel(); i++) {
                e.buffer.get(e.base + (int) e.position(i) * width, result, (int) i * width, width);
            }
        } finally {
            thread.exit();
            Reference.reachabilityFence(e.storage);
        }
        return result;
    }

    /**
     * Copies the bytes of one contiguous tensor to another of the same size.
     *
     * @param from what is read, contiguous
     * @param to what is written, contiguous
     * @throws ShapeException if the sizes in bytes differ, or one does not lie in a row
     */
    public static void copyBytes(Tensor from, Tensor to) {
        Objects.requireNonNull(from, "from");
        Objects.requireNonNull(to, "to");
        if (from.numel() * from.dtype().byteSize() != to.numel() * to.dtype().byteSize()) {
            throw new ShapeException(
                    "elements: the bytes of " + from.describe() + " are not as many as those of " + to.describe());
        }
        Elements target = of(to);
        of(from).withBytes(bytes -> target.withBytes(room -> room.put(bytes)));
    }

    /**
     * Sets every byte of a contiguous tensor: garbage that a test can tell from a result.
     *
     * @param t contiguous
     * @param value what each byte becomes
     */
    public static void fillBytes(Tensor t, byte value) {
        Objects.requireNonNull(t, "t");
        byte[] bytes =
                new byte[Math.toIntExact(Math.multiplyExact(t.numel(), t.dtype().byteSize()))];
        java.util.Arrays.fill(bytes, value);
        if (bytes.length > 0) {
            setBytes(t, bytes);
        }
    }

    /** Fills a contiguous tensor from bytes in row-major order. */
    static void setBytes(Tensor t, byte[] bytes) {
        of(t).withBytes(room -> room.put(bytes));
    }

    /**
     * A buffer over the storage in native byte order, in which the first element lies at {@link #byteOffset}; for bulk
     * access. It holds the memory until it is unreachable, and so outlives {@code close()} and the scope: prefer {@link
     * #withBytes}. See {@link Storage#buffer}.
     *
     * @return a buffer over the whole storage, of which this tensor may be a part
     * @throws ClosedTensorException if the memory is gone
     */
    public final ByteBuffer buffer() {
        return java.util.Objects.requireNonNull(storage.buffer());
    }

    /** {@return where the first element begins in {@link #buffer}, in bytes} */
    public final int byteOffset() {
        return base - storage.bufferOffset();
    }
}
