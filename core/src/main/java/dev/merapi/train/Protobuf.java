// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/**
 * A message of protocol buffers as it is written: fields by number, in any order.
 *
 * @see <a href="https://protobuf.dev/programming-guides/encoding/">the encoding</a>
 */
final class Protobuf {
    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    Protobuf integer(int field, long value) {
        tag(field, VARINT);
        varint(value);
        return this;
    }

    Protobuf float64(int field, double value) {
        tag(field, FIXED64);
        little(Double.doubleToLongBits(value), 8);
        return this;
    }

    Protobuf float32(int field, float value) {
        tag(field, FIXED32);
        little(Integer.toUnsignedLong(Float.floatToIntBits(value)), 4);
        return this;
    }

    /** Repeated numbers, packed. */
    Protobuf float64s(int field, double[] values) {
        tag(field, BYTES);
        varint(8L * values.length);
        for (double value : values) {
            little(Double.doubleToLongBits(value), 8);
        }
        return this;
    }

    Protobuf bytes(int field, byte[] value) {
        tag(field, BYTES);
        varint(value.length);
        out.writeBytes(value);
        return this;
    }

    Protobuf text(int field, String value) {
        return bytes(field, value.getBytes(StandardCharsets.UTF_8));
    }

    Protobuf message(int field, Protobuf value) {
        return bytes(field, value.toBytes());
    }

    byte[] toBytes() {
        return out.toByteArray();
    }

    private void tag(int field, int kind) {
        varint((long) field << 3 | kind);
    }

    private void varint(long value) {
        long rest = value;
        while ((rest & ~0x7fL) != 0) {
            out.write((int) (rest & 0x7f | 0x80));
            rest >>>= 7;
        }
        out.write((int) rest);
    }

    private void little(long value, int bytes) {
        for (int i = 0; i < bytes; i++) {
            out.write((int) (value >>> 8 * i));
        }
    }
}
