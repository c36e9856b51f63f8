// SPDX-License-Identifier: Apache-2.0
/** Optimisers, learning-rate schedules and gradient clipping; one op call a step for all parameters of a group. */
@NullMarked
package dev.merapi.optim;

import org.jspecify.annotations.NullMarked;
