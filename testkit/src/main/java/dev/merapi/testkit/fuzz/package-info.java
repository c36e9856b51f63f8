// SPDX-License-Identifier: Apache-2.0
/**
 * A differential fuzzer of the public API: random programs run on plain Java, on another backend and in float64, and what
 * they compute, refuse and leave behind must agree. Read {@link dev.merapi.testkit.fuzz.Fuzz}.
 */
@NullMarked
package dev.merapi.testkit.fuzz;

import org.jspecify.annotations.NullMarked;
