// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

/** A check found something wrong; the message is its report. */
public final class CheckFailedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    CheckFailedException(String report) {
        super(report);
    }
}
