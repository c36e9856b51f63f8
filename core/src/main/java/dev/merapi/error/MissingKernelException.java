// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** No kernel for this op on this device and dtype; the message lists those that exist. */
public class MissingKernelException extends UnsupportedOperationException implements OpError {
    private static final long serialVersionUID = 1L;
    private final Message message;

    public MissingKernelException(String message) {
        this(Message.of(message));
    }

    public MissingKernelException(Message message) {
        super(message.toString());
        this.message = message;
    }

    @Override
    public Message details() {
        return message;
    }

    @Override
    public String getMessage() {
        return message.toString();
    }
}
