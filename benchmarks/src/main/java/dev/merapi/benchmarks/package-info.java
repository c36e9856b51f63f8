// SPDX-License-Identifier: Apache-2.0
/**
 * One class, one question. Each checks its answers before anything is timed. Classes named {@code Torch…} ask libtorch the
 * same question; they are in {@code src/peers}, and are built with the Maven profile {@code peers} only.
 */
@NullMarked
package dev.merapi.benchmarks;

import org.jspecify.annotations.NullMarked;
