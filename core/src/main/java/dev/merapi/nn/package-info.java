// SPDX-License-Identifier: Apache-2.0
/** Blocks: {@link dev.merapi.nn.Block} and the usual layers. Uses the engine, is used by optim and train. */
@NullMarked
package dev.merapi.nn;

import org.jspecify.annotations.NullMarked;
