// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

/** What a frame is. */
enum Kind {
    OP,
    KERNEL,
    BACKWARD,
    BLOCK,
    RANGE,
    WAIT
}
