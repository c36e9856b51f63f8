// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

/** Stands among the arguments of a step for the device that the program runs on. */
enum Here {
    DEVICE
}
