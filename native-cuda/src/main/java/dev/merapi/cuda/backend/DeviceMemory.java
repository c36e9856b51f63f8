// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import org.jspecify.annotations.Nullable;

/** Segments of a device's memory. Java never sees them, the simulator's included: no Java kernel may serve in secret. */
final class DeviceMemory implements RawAllocator {
    private final CudaRuntime runtime;
    private final int device;

    DeviceMemory(CudaRuntime runtime, int device) {
        this.runtime = runtime;
        this.device = device;
    }

    @Override
    public @Nullable Segment allocate(long byteSize) {
        long address = runtime.allocate(device, byteSize);
        return address == 0 ? null : new Segment(null, address, byteSize);
    }

    @Override
    public void free(Segment segment) {
        runtime.free(device, segment.address());
    }

    @Override
    public void order(long before, long after) {
        long event = runtime.createEvent(device);
        try {
            runtime.record(device, event, before);
            runtime.await(device, after, event);
        } finally {
            runtime.destroyEvent(device, event);
        }
    }

    @Override
    public long defaultCap() {
        return runtime.defaultCap(device);
    }

    @Override
    public boolean isJavaVisible() {
        return false;
    }
}
