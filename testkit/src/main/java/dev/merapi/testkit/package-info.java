// SPDX-License-Identifier: Apache-2.0
/**
 * A row of samples for every built-in op, each with an independent float64 reference, and the contract that every
 * backend's tests extend. Read {@link dev.merapi.testkit.OpSamples}, then {@link dev.merapi.testkit.BackendContract}.
 */
@NullMarked
package dev.merapi.testkit;

import org.jspecify.annotations.NullMarked;
