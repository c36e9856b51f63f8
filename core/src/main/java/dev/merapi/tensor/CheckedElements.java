// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import java.nio.ByteBuffer;

/** Elements outside of calls: each access makes sure that the memory is there, and keeps it meanwhile. */
final class CheckedElements extends Elements {
    CheckedElements(Storage storage, ByteBuffer buffer, int base, DType dtype, Layout layout) {
        super(storage, buffer, base, dtype, layout);
    }

    CheckedElements(Elements other) {
        super(other);
    }

    @Override
    public double getDouble(long i) {
        return doubleAt(position(i));
    }

    @Override
    public double doubleAt(long position) {
        int at = at(position);
        ThreadState thread = enter();
        try {
            return readDouble(at);
        } finally {
            thread.exit();
        }
    }

    @Override
    public long getLong(long i) {
        return longAt(position(i));
    }

    @Override
    public long longAt(long position) {
        int at = at(position);
        ThreadState thread = enter();
        try {
            return readLong(at);
        } finally {
            thread.exit();
        }
    }

    @Override
    public void setDouble(long i, double value) {
        setDoubleAt(position(i), value);
    }

    @Override
    public void setDoubleAt(long position, double value) {
        int at = at(position);
        ThreadState thread = enter();
        try {
            writeDouble(at, value);
        } finally {
            thread.exit();
        }
    }

    @Override
    public void setLong(long i, long value) {
        setLongAt(position(i), value);
    }

    @Override
    public void setLongAt(long position, long value) {
        int at = at(position);
        ThreadState thread = enter();
        try {
            writeLong(at, value);
        } finally {
            thread.exit();
        }
    }
}
