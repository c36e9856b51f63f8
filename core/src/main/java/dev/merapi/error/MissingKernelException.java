// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** No kernel for this op on this device and dtype; the message lists those that exist. */
public class MissingKernelException extends UnsupportedError {
    private static final long serialVersionUID = 1L;

    public MissingKernelException(String message) {
        this(Message.of(message));
    }

    public MissingKernelException(Message message) {
        super(message);
    }
}
