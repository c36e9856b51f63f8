// SPDX-License-Identifier: Apache-2.0
/** Shapes, layouts, dtypes and devices: immutable values and pure arithmetic. Depends on {@code error} only; read {@link dev.merapi.types.Layout} first. */
@NullMarked
package dev.merapi.types;

import org.jspecify.annotations.NullMarked;
