// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import java.nio.ByteBuffer;

/** A little native memory per thread, to hand descriptors to kernels. */
final class Scratch {
    private static final ThreadLocal<Scratch> CURRENT = ThreadLocal.withInitial(Scratch::new);

    private ByteBuffer buffer;
    private long address;
    private int words;

    private Scratch() {
        allocate(4096);
    }

    private void allocate(int bytes) {
        // A direct buffer rather than raw memory: it goes with its thread.
        buffer = ByteBuffer.allocateDirect(bytes).order(java.nio.ByteOrder.nativeOrder());
        address = Native.address_of(buffer);
    }

    static Scratch begin() {
        Scratch s = CURRENT.get();
        s.words = 0;
        return s;
    }

    /** Makes room for that many words more. */
    Scratch reserve(int count) {
        int needed = (words + count) * Long.BYTES;
        if (needed > buffer.capacity()) {
            ByteBuffer old = buffer;
            allocate(Math.max(needed, buffer.capacity() * 2));
            for (int i = 0; i < words; i++) {
                buffer.putLong(i * Long.BYTES, old.getLong(i * Long.BYTES));
            }
        }
        return this;
    }

    Scratch put(long word) {
        buffer.putLong(words++ * Long.BYTES, word);
        return this;
    }

    Scratch putScalar(Number n) {
        return put(Double.doubleToRawLongBits(n.doubleValue())).put(n.longValue());
    }

    long address() {
        return address;
    }

    /** Address of word {@code i}. */
    long address(int i) {
        return address + (long) i * Long.BYTES;
    }

    int words() {
        return words;
    }

    long get(int word) {
        return buffer.getLong(word * Long.BYTES);
    }

    double getDouble(int word) {
        return buffer.getDouble(word * Long.BYTES);
    }
}
