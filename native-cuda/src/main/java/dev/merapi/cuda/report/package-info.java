// SPDX-License-Identifier: Apache-2.0

/** What reports measure and programs do not ask for; for the benchmarks. No API. */
@NullMarked
package dev.merapi.cuda.report;

import org.jspecify.annotations.NullMarked;
