// SPDX-License-Identifier: Apache-2.0
/** The front door: {@link dev.merapi.Merapi} has the settings of the process and says what it runs on. */
@NullMarked
package dev.merapi;

import org.jspecify.annotations.NullMarked;
