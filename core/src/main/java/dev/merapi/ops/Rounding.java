// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/** Which way a quotient is rounded. */
public enum Rounding {
    /** Down. */
    FLOOR,
    /** Towards 0. */
    TRUNC
}
