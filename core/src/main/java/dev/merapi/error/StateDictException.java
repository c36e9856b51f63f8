// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

/** A saved state that does not fit what it is loaded into; the message has every name at which it does not. */
public class StateDictException extends ArgumentError {
    private static final long serialVersionUID = 1L;

    /**
     * With what is wrong.
     *
     * @param message names, what was expected, and a fix
     */
    public StateDictException(Message message) {
        super(message);
    }
}
