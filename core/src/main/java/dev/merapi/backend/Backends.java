// SPDX-License-Identifier: Apache-2.0
package dev.merapi.backend;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.DeviceException;
import dev.merapi.types.DeviceType;

/**
 * Which backend serves each kind of device. The CPU always has one: plain Java if the native one cannot be loaded, with
 * one log line that says why.
 */
public final class Backends {
    private Backends() {}

    /**
     * The backend of a kind of device.
     *
     * @param type the kind
     * @return the backend that serves it, which is the same until one comes or goes
     * @throws DeviceException if there is none, with the reason of each that was tried
     */
    public static Backend of(DeviceType type) {
        return BackendChoice.of(type);
    }

    /**
     * Whether devices of a kind can be used; never throws.
     *
     * @param type the kind
     * @return whether a backend of that kind works here
     */
    public static boolean isAvailable(DeviceType type) {
        return BackendChoice.isAvailable(type);
    }

    /** A backend that was added by hand; it stays until this is closed. */
    public interface Registration extends AutoCloseable {
        /** Takes the backend away; its tensors must be gone by then. */
        @Override
        void close();
    }

    /**
     * Adds a backend by hand; it takes part like those that the service loader finds.
     *
     * @param backend the backend
     * @return what takes it away again
     */
    public static Registration register(Backend backend) {
        return BackendChoice.register(backend)::run;
    }
}
