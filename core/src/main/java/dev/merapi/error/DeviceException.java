// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Tensors on different devices, or a device that does not exist; nothing is ever moved silently. */
public class DeviceException extends ArgumentError {
    private static final long serialVersionUID = 1L;

    /**
     * An error told by one text.
     *
     * @param message what is wrong, with the numbers; then the facts and a {@code fix:}, one a line
     */
    public DeviceException(String message) {
        this(Message.of(message));
    }

    /**
     * An error told by its parts.
     *
     * @param message headline, facts and fix; shared, so that names of ops can be added
     */
    public DeviceException(Message message) {
        super(message);
    }
}
