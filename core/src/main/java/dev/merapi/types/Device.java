// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.DeviceException;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;

/** Where a tensor lives: a {@link DeviceType} and an index. Equal devices are the same object. */
public final class Device {
    private static final Map<String, Device> INTERNED = new ConcurrentHashMap<>();

    public static final Device CPU = of(DeviceType.CPU, 0);

    private final DeviceType type;
    private final int index;

    private Device(DeviceType type, int index) {
        this.type = type;
        this.index = index;
    }

    public static Device of(DeviceType type, int index) {
        Objects.requireNonNull(type, "type");
        if (index < 0) {
            throw new DeviceException("device " + type + ": negative index " + index);
        }
        return INTERNED.computeIfAbsent(type + ":" + index, key -> new Device(type, index));
    }

    /**
     * Parses {@code "cpu"}, {@code "cuda:1"}, …; without an index it is 0.
     *
     * @throws DeviceException if the text has another form, or there is no type of that name
     */
    public static Device of(String text) {
        int colon = Objects.requireNonNull(text, "text").indexOf(':');
        DeviceType type = DeviceType.of(colon < 0 ? text : text.substring(0, colon));
        try {
            return of(type, colon < 0 ? 0 : Integer.parseInt(text.substring(colon + 1)));
        } catch (NumberFormatException e) {
            throw new DeviceException("device '" + text + "': expected a type, or type:index such as cuda:0");
        }
    }

    public DeviceType type() {
        return type;
    }

    public int index() {
        return index;
    }

    @Override
    public String toString() {
        return type == DeviceType.CPU && index == 0 ? type.name() : type + ":" + index;
    }
}
