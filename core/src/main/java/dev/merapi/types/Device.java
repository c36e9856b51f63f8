// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.DeviceException;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;

/** Where a tensor lives: a {@link DeviceType} and an index. Equal devices are the same object. */
public final class Device {
    private static final Map<String, Device> INTERNED = new ConcurrentHashMap<>();

    /** The CPU, which is always there. */
    public static final Device CPU = of(DeviceType.CPU, 0);

    private final DeviceType type;
    private final int index;

    private Device(DeviceType type, int index) {
        this.type = type;
        this.index = index;
    }

    /**
     * {@return the device of a kind with a number}
     *
     * @param type the kind
     * @param index from 0; whether there is such a device shows at its first use
     * @throws DeviceException if the number is negative
     */
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
     * @param text such as {@code "cuda:1"}
     * @return the device; whether there is one shows at its first use
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

    /** {@return the kind of device} */
    public DeviceType type() {
        return type;
    }

    /** {@return its number among the devices of that kind, from 0} */
    public int index() {
        return index;
    }

    @Override
    public String toString() {
        return type == DeviceType.CPU && index == 0 ? type.name() : type + ":" + index;
    }
}
