// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.dispatch.Backend;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.HeapAllocator;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;

/** A device on the Java heap that runs reference kernels: the CPU without natives, or a toy device for tests. */
public final class JavaBackend implements Backend {
    private final DeviceType type;
    private final CachingAllocator allocator;

    /** The CPU. */
    public JavaBackend() {
        this(DeviceType.CPU);
    }

    public JavaBackend(DeviceType type) {
        this.type = type;
        this.allocator = new CachingAllocator(Device.of(type, 0), new HeapAllocator());
    }

    @Override
    public DeviceType deviceType() {
        return type;
    }

    @Override
    public String description() {
        return "plain Java";
    }

    @Override
    public int priority() {
        return -100;
    }

    @Override
    public CachingAllocator allocator(int index) {
        return allocator;
    }
}
