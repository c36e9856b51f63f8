// SPDX-License-Identifier: Apache-2.0
package dev.merapi.types;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import dev.merapi.error.Spelling;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** A kind of device. Kernels are registered per device type; {@link #id} is its index in an op's kernel table. */
public final class DeviceType {
    /** At most this many kinds can exist in one process. */
    public static final int LIMIT = 32;

    private static final Map<String, DeviceType> BY_NAME = new LinkedHashMap<>();

    /** The CPU: native kernels, or plain Java where they cannot be loaded. */
    public static final DeviceType CPU = register("cpu");
    /** GPUs of NVIDIA. */
    public static final DeviceType CUDA = register("cuda");
    /** The simulator that runs CUDA kernels on the CPU, for tests without a GPU. */
    public static final DeviceType CUDA_SIM = register("cuda-sim");

    private final String name;
    private final int id;

    private DeviceType(String name, int id) {
        this.name = name;
        this.id = id;
    }

    /**
     * The type of that name.
     *
     * @param name such as {@code "cpu"}
     * @return the one instance
     * @throws DeviceException if there is none; the message lists those that there are
     */
    public static DeviceType of(String name) {
        Objects.requireNonNull(name, "name");
        synchronized (BY_NAME) {
            DeviceType known = BY_NAME.get(name);
            if (known == null) {
                String near = Spelling.nearest(name, BY_NAME.keySet());
                throw new DeviceException(Message.of("device type '" + name + "': there is none of this name")
                        .fact("known", String.join(", ", BY_NAME.keySet()))
                        .fix((near == null ? "" : "\"" + near + "\"; or ")
                                + "for a backend of your own, DeviceType.register(\"" + name + "\") first."));
            }
            return known;
        }
    }

    /**
     * The type of that name, made if it is new: a backend of one's own starts here. There is room for {@link #LIMIT}.
     *
     * @param name lower-case letters, digits, - and _
     * @return the one instance
     * @throws DeviceException if the name has other characters than lower-case letters, digits, - and _, or there is no
     *     room
     */
    public static DeviceType register(String name) {
        Objects.requireNonNull(name, "name");
        synchronized (BY_NAME) {
            DeviceType known = BY_NAME.get(name);
            if (known != null) {
                return known;
            }
            if (!isName(name)) {
                throw new DeviceException("device type '" + name + "': expected lower-case letters, digits, - and _");
            }
            if (BY_NAME.size() == LIMIT) {
                throw new DeviceException("device type '" + name + "': there are already " + LIMIT + ": "
                        + String.join(", ", BY_NAME.keySet()));
            }
            DeviceType type = new DeviceType(name, BY_NAME.size());
            BY_NAME.put(name, type);
            return type;
        }
    }

    private static boolean isName(String name) {
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            boolean inside = c >= '0' && c <= '9' || c == '_' || c == '-';
            if ((c < 'a' || c > 'z') && (i == 0 || !inside)) {
                return false;
            }
        }
        return !name.isEmpty();
    }

    /** {@return all types known so far} */
    public static Collection<DeviceType> all() {
        synchronized (BY_NAME) {
            return List.copyOf(BY_NAME.values());
        }
    }

    /** {@return the name that {@link Device#of(String)} knows} */
    public String name() {
        return name;
    }

    /** {@return a small number, dense from 0, stable for the life of the process} */
    public int id() {
        return id;
    }

    @Override
    public String toString() {
        return name;
    }
}
