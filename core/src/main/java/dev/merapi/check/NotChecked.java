// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

/** Says why a check was not made. */
final class NotChecked extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NotChecked(String reason) {
        super(reason, null, false, false);
    }
}
