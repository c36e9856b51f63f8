// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

/**
 * A stream, as the memory layer sees it. What it has let go of may serve anew at once in its own order; before other
 * streams take it over, they wait for its work.
 */
public interface StreamOrder {
    /** 0 is a device's own stream. */
    long handle();

    /** False once it is closed: then all of its work is done. */
    boolean isOpen();
}
