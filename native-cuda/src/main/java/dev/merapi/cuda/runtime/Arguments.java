// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongUnaryOperator;

/** The arguments of one launch, in memory that its thread reuses: values, and the table of their addresses. */
public final class Arguments {
    private static final ThreadLocal<Arguments> CURRENT = ThreadLocal.withInitial(Arguments::new);
    private static final int LIMIT = 64;

    private ByteBuffer buffer = ByteBuffer.allocateDirect(0);
    private long address;
    private final int[] offsets = new int[LIMIT];
    private final List<Region> regions = new ArrayList<>();
    private int count;
    private int at;

    /**
     * A tensor that a kernel may use, for checks of its accesses.
     *
     * @param fresh whether it holds nothing yet, and is to be written wholly
     */
    public record Region(
            String name, String what, long address, long bytes, int element, boolean writable, boolean fresh) {
        static Region of(String name, Tensor t, boolean writable, boolean fresh) {
            int element = t.dtype().byteSize();
            long elements = t.numel() == 0 ? 0 : t.layout().end() - t.layout().offset();
            return new Region(name, t.describe(), t.address(), elements * element, element, writable, fresh);
        }
    }

    private Arguments() {
        grow(4096);
    }

    /** An empty list of arguments. */
    public static Arguments begin() {
        Arguments a = CURRENT.get();
        a.count = 0;
        a.regions.clear();
        a.at = LIMIT * Long.BYTES;
        return a;
    }

    /** The same arguments in memory of their own. */
    public Arguments copy() {
        Arguments a = new Arguments();
        while (a.buffer.capacity() < buffer.capacity()) {
            a.grow(2 * a.buffer.capacity());
        }
        a.buffer.put(0, buffer, 0, at);
        System.arraycopy(offsets, 0, a.offsets, 0, count);
        a.regions.addAll(regions);
        a.count = count;
        a.at = at;
        return a;
    }

    private void grow(int bytes) {
        ByteBuffer old = buffer;
        buffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
        buffer.put(0, old, 0, old.capacity());
        address = CudaNative.address_of(buffer);
    }

    /** A new argument begins here; what follows up to the next one belongs to it. */
    public Arguments next() {
        if (count == LIMIT) {
            throw new IllegalArgumentException("cuda: more than " + LIMIT + " arguments of a kernel");
        }
        at = at + 7 & -8;
        offsets[count++] = at;
        return this;
    }

    private int room(int bytes) {
        at = at + bytes - 1 & -bytes;
        if (at + bytes > buffer.capacity()) {
            grow(2 * buffer.capacity());
        }
        int here = at;
        at += bytes;
        return here;
    }

    public Arguments word(long value) {
        int here = room(Long.BYTES);
        buffer.putLong(here, value);
        return this;
    }

    public Arguments real(double value) {
        return word(Double.doubleToRawLongBits(value));
    }

    public Arguments half(int value) {
        int here = room(Integer.BYTES);
        buffer.putInt(here, value);
        return this;
    }

    public Arguments flag(boolean value) {
        int here = room(1);
        buffer.put(here, (byte) (value ? 1 : 0));
        return this;
    }

    /** What the kernel may use; if nothing is said, it may use all of the device's memory. */
    public Arguments region(String name, Tensor t, boolean writable, boolean fresh) {
        regions.add(Region.of(name, t, writable, fresh));
        return this;
    }

    /** The record of faults may be written. */
    public Arguments region(IndexFaults faults) {
        regions.add(new Region(
                "fault", "the record of faults", faults.address(), IndexFaults.BYTES, Long.BYTES, true, false));
        return this;
    }

    /** Replaces each word that the operator changes: where an address is wanted elsewhere. */
    public void replace(LongUnaryOperator operator) {
        for (int i = LIMIT * Long.BYTES; i + Long.BYTES <= at; i += Long.BYTES) {
            buffer.putLong(i, operator.applyAsLong(buffer.getLong(i)));
        }
    }

    /** Bytes of all arguments. */
    public int bytes() {
        return at - LIMIT * Long.BYTES;
    }

    public List<Region> regions() {
        return regions;
    }

    /** The tensors that were told, for a message, a line each. */
    public String facts() {
        StringBuilder lines = new StringBuilder();
        regions.forEach(r -> lines.append("\n  ").append(r.name()).append(": ").append(r.what()));
        return lines.toString();
    }

    /** Address of the table; valid until this thread begins the next list. */
    public long table() {
        for (int i = 0; i < count; i++) {
            buffer.putLong(i * Long.BYTES, address + offsets[i]);
        }
        return address;
    }
}
