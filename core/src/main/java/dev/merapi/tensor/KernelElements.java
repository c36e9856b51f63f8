// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.storage.Lease;
import dev.merapi.storage.Storage;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import java.nio.ByteBuffer;

/**
 * Elements within the call that made them: until it ends, the dispatcher protects the memory, and an access asks its lease
 * only. A class of its own, with all accesses written out, so that a kernel's loop is compiled
 * without the other kind's fences in it, whatever the rest of the program does.
 */
final class KernelElements extends Elements {
    private final Lease lease;

    KernelElements(Storage storage, ByteBuffer buffer, int base, DType dtype, Layout layout, Lease lease) {
        super(storage, buffer, base, dtype, layout);
        this.lease = lease;
    }

    /** The same elements for another thread, or after the call. */
    private Elements outside() {
        return new CheckedElements(this);
    }

    @Override
    public double getDouble(long i) {
        return doubleAt(position(i));
    }

    @Override
    public double doubleAt(long position) {
        int at = at(position);
        return lease.isHeld() ? readDouble(at) : outside().doubleAt(position);
    }

    @Override
    public long getLong(long i) {
        return longAt(position(i));
    }

    @Override
    public long longAt(long position) {
        int at = at(position);
        return lease.isHeld() ? readLong(at) : outside().longAt(position);
    }

    @Override
    public void setDouble(long i, double value) {
        setDoubleAt(position(i), value);
    }

    @Override
    public void setDoubleAt(long position, double value) {
        int at = at(position);
        if (lease.isHeld()) {
            writeDouble(at, value);
        } else {
            outside().setDoubleAt(position, value);
        }
    }

    @Override
    public void setLong(long i, long value) {
        setLongAt(position(i), value);
    }

    @Override
    public void setLongAt(long position, long value) {
        int at = at(position);
        if (lease.isHeld()) {
            writeLong(at, value);
        } else {
            outside().setLongAt(position, value);
        }
    }
}
