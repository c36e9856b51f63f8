// SPDX-License-Identifier: Apache-2.0

/** From an op's arguments to a launch: functions by their sources, families of kernels written by hand, operands. No API. */
@NullMarked
package dev.merapi.cuda.launch;

import org.jspecify.annotations.NullMarked;
