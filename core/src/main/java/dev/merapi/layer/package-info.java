// SPDX-License-Identifier: Apache-2.0
/**
 * Layers of dispatch, for users: a {@link dev.merapi.layer.DispatchLayer} sees every call of an op that a thread makes. See
 * {@code docs/layers.md}.
 */
@NullMarked
package dev.merapi.layer;

import org.jspecify.annotations.NullMarked;
