// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.io.IOException;

/** A file is not what it claims to be: damaged, cut off, or of another format. Nothing was read from it. */
public class FormatException extends IOException {
    private static final long serialVersionUID = 1L;

    /**
     * A file that is not what it should be.
     *
     * @param message which file, where in it, and what is wrong
     */
    public FormatException(String message) {
        super(message);
    }

    /**
     * A file that is not what it should be, as another error has told.
     *
     * @param message which file, where in it, and what is wrong
     * @param cause that error
     */
    public FormatException(String message, Throwable cause) {
        super(message, cause);
    }
}
