// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** Tensors on different devices, or a device that does not exist; nothing is ever moved silently. */
public class DeviceException extends ArgumentError {
    private static final long serialVersionUID = 1L;

    public DeviceException(String message) {
        this(Message.of(message));
    }

    public DeviceException(Message message) {
        super(message);
    }
}
