// SPDX-License-Identifier: Apache-2.0
/** Where the time of a program goes: {@link dev.merapi.profile.Profiler}. */
@NullMarked
package dev.merapi.profile;

import org.jspecify.annotations.NullMarked;
