// SPDX-License-Identifier: Apache-2.0
/** Real training workloads; each main is meant to be read. Start with {@link dev.merapi.examples.TrainGpt}. */
@NullMarked
package dev.merapi.examples;

import org.jspecify.annotations.NullMarked;
