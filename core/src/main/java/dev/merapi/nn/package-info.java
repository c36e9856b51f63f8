// SPDX-License-Identifier: Apache-2.0
/** Modules: {@link dev.merapi.nn.Module} and the usual layers. Uses the engine, is used by optim and train. */
@NullMarked
package dev.merapi.nn;

import org.jspecify.annotations.NullMarked;
