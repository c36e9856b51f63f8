// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.DeviceException;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A kind of device. Kernels are registered per device type; {@link #id} is its index in an op's kernel table. */
public final class DeviceType {
    /** At most this many kinds can exist in one process. */
    public static final int LIMIT = 16;

    private static final Map<String, DeviceType> BY_NAME = new LinkedHashMap<>();

    public static final DeviceType CPU = of("cpu");
    public static final DeviceType CUDA = of("cuda");
    public static final DeviceType CUDA_SIM = of("cuda-sim");

    private final String name;
    private final int id;

    private DeviceType(String name, int id) {
        this.name = name;
        this.id = id;
    }

    /** The type of that name, made if it is new: a backend of one's own starts here. */
    public static DeviceType of(String name) {
        synchronized (BY_NAME) {
            DeviceType known = BY_NAME.get(name);
            if (known != null) {
                return known;
            }
            if (!name.matches("[a-z][a-z0-9_-]*")) {
                throw new DeviceException("device type '" + name + "': expected lower-case letters, digits, - and _");
            }
            if (BY_NAME.size() == LIMIT) {
                throw new DeviceException(
                        "device type '" + name + "': there are already " + LIMIT + ": " + BY_NAME.keySet());
            }
            DeviceType type = new DeviceType(name, BY_NAME.size());
            BY_NAME.put(name, type);
            return type;
        }
    }

    /** All types known so far. */
    public static Collection<DeviceType> all() {
        synchronized (BY_NAME) {
            return List.copyOf(BY_NAME.values());
        }
    }

    public String name() {
        return name;
    }

    /** A small number, dense from 0, stable for the life of the process. */
    public int id() {
        return id;
    }

    @Override
    public String toString() {
        return name;
    }
}
