// SPDX-License-Identifier: Apache-2.0
/** Devices as users see them: their streams, events and memory. */
@NullMarked
package dev.merapi.device;

import org.jspecify.annotations.NullMarked;
