// SPDX-License-Identifier: Apache-2.0
/**
 * From files to batches: {@link dev.merapi.data.Dataset} makes a batch of chosen samples, {@link dev.merapi.data.DataLoader} chooses
 * them and has batches ready before they are asked for. May import the engine.
 */
@NullMarked
package dev.merapi.data;

import org.jspecify.annotations.NullMarked;
